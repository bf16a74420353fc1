//! What the rules ask of a source: the paths, methods and macros that its code names, its functions and derives, each with its line.
//! Comments and literals are no code. What stands in a macro's parentheses is, though nobody but the macro knows its syntax.

use std::sync::LazyLock;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Item, Meta, Type, UseTree};

use crate::modules::{attributes, is_for_tests};
use crate::tree;

/// Something that code names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    pub line: usize,
    /// Segments of a path are joined by `::`.
    pub name: String,
}

impl Named {
    /// The segments of a path.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.name.split("::")
    }

    /// Whether a segment of this path is `name`; one that isn't the last, if `name` ends in `::`.
    pub fn has(&self, name: &str) -> bool {
        match name.strip_suffix("::") {
            Some(name) => {
                let segments: Vec<&str> = self.segments().collect();
                segments[..segments.len() - 1].contains(&name)
            }
            None => self.segments().any(|segment| segment == name),
        }
    }

    /// Whether this path is `path`, or leads to something in it.
    pub fn is_within(&self, path: &str) -> bool {
        self.name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    }

    /// Whether the last segments of this path are those of `path`.
    pub fn ends_with(&self, path: &str) -> bool {
        self.name.strip_suffix(path).is_some_and(|rest| rest.is_empty() || rest.ends_with("::"))
    }
}

/// A call of a method.
pub struct MethodCall {
    pub line: usize,
    pub name: String,
    /// The first name in its arguments: what makes the argument, where that is a call.
    pub argument: String,
}

/// A function's signature.
pub struct Function {
    pub line: usize,
    pub name: String,
    /// Names in the types of its parameters.
    pub parameters: Vec<String>,
    /// Names in the type that it returns.
    pub returns: Vec<String>,
}

/// A Rust source of the repository.
pub struct Source {
    /// From the root, with slashes on every platform.
    pub path: String,
    pub code: Code,
    /// The same, without what is compiled for tests alone.
    pub without_tests: Code,
}

/// Returns all Rust sources of the repository, sorted by path. They are read once.
pub fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let files = tree::files().into_iter().filter(|file| file.is("rs"));
        let source = |file: tree::File| {
            let syntax = syn::parse_file(&file.text()).unwrap_or_else(|error| panic!("{}: {error}", file.path));
            Source { path: file.path, code: Code::of(&syntax), without_tests: Code::without_tests(&syntax) }
        };
        files.map(source).collect()
    });
    &SOURCES
}

/// What a source's code names.
#[derive(Default)]
pub struct Code {
    /// Paths, those of `use` taken apart, in the order of the source.
    pub paths: Vec<Named>,
    pub methods: Vec<MethodCall>,
    /// Macros that are called.
    pub macros: Vec<Named>,
    /// What is derived.
    pub derives: Vec<Named>,
    /// Traits that are implemented.
    pub traits: Vec<Named>,
    pub functions: Vec<Function>,
    /// Lines with `unsafe` in them.
    pub unsafe_lines: Vec<usize>,
    without_tests: bool,
}

impl Code {
    /// All that a source's code names.
    pub fn of(syntax: &syn::File) -> Self {
        let mut code = Self::default();
        code.visit_file(syntax);
        code
    }

    /// The same, without what is compiled for tests alone.
    pub fn without_tests(syntax: &syn::File) -> Self {
        let mut code = Self { without_tests: true, ..Self::default() };
        code.visit_file(syntax);
        code
    }

    /// What tokens name, such as those in a macro's parentheses.
    pub fn of_tokens(tokens: TokenStream) -> Self {
        let mut code = Self::default();
        code.add_tokens(tokens);
        code
    }

    /// How often a method is called.
    pub fn calls(&self, method: &str) -> usize {
        self.methods.iter().filter(|call| call.name == method).count()
    }

    /// How often a path with this end is named.
    pub fn names(&self, path: &str) -> usize {
        self.paths.iter().filter(|named| named.ends_with(path)).count()
    }

    fn add_use(&mut self, tree: &UseTree, before: &str) {
        let joined = |name: &dyn ToString| match before {
            "" => name.to_string(),
            before => format!("{before}::{}", name.to_string()),
        };
        match tree {
            UseTree::Path(one) => self.add_use(&one.tree, &joined(&one.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_use(tree, before)),
            UseTree::Name(one) => self.add_path(joined(&one.ident), one.span()),
            UseTree::Rename(one) => self.add_path(joined(&one.ident), one.span()),
            UseTree::Glob(one) => self.add_path(before.to_owned(), one.span()),
        }
    }

    fn add_path(&mut self, name: String, span: Span) {
        let name = name.strip_suffix("::self").map_or(name.clone(), str::to_owned);
        self.paths.push(Named { line: line(span), name });
    }

    fn add_tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is_mark =
            |at: usize, mark: char| matches!(tokens.get(at), Some(TokenTree::Punct(one)) if one.as_char() == mark);
        let parentheses = |at: usize| match tokens.get(at) {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => Some(group.stream()),
            _ => None,
        };
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.add_tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let start = at;
                    let mut name = first.to_string();
                    while is_mark(at + 1, ':') && is_mark(at + 2, ':') {
                        let Some(TokenTree::Ident(next)) = tokens.get(at + 3) else { break };
                        name = format!("{name}::{next}");
                        at += 3;
                    }
                    let line = line(first.span());
                    let is_method = start > 0 && is_mark(start - 1, '.');
                    if name == "unsafe" {
                        self.unsafe_lines.push(line);
                    } else if let (true, Some(arguments)) = (is_method, parentheses(at + 1)) {
                        self.methods.push(MethodCall { line, name, argument: first_name(arguments) });
                    } else if is_mark(at + 1, '!') && !is_mark(at + 2, '=') {
                        self.macros.push(Named { line, name });
                    } else if !is_method {
                        self.paths.push(Named { line, name });
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }
}

/// The first name among tokens.
fn first_name(tokens: TokenStream) -> String {
    let names = tokens.into_iter().map(|token| match token {
        TokenTree::Ident(name) => name.to_string(),
        TokenTree::Group(group) => first_name(group.stream()),
        _ => String::new(),
    });
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
}

/// The segments of all paths in a part of the syntax.
#[derive(Default)]
struct Names(Vec<String>);

impl<'ast> Visit<'ast> for Names {
    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        self.0.push(segment.ident.to_string());
        visit::visit_path_segment(self, segment);
    }
}

/// Names in a type, as those of `Res<T>`: `Res` and `T`.
fn names_in_type(one: &Type) -> Vec<String> {
    let mut names = Names::default();
    names.visit_type(one);
    names.0
}

fn line(span: Span) -> usize {
    span.start().line
}

impl<'ast> Visit<'ast> for Code {
    fn visit_item(&mut self, item: &'ast Item) {
        if !(self.without_tests && is_for_tests(attributes(item))) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !(self.without_tests && is_for_tests(&item.attrs)) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_use(&item.tree, "");
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.add_path(item.ident.to_string(), item.ident.span());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add_path(names.join("::"), path.span());
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let mut names = Names::default();
        call.args.iter().for_each(|argument| names.visit_expr(argument));
        let (line, name) = (line(call.method.span()), call.method.to_string());
        self.methods.push(MethodCall { line, name, argument: names.0.into_iter().next().unwrap_or_default() });
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let names: Vec<String> = call.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.macros.push(Named { line: line(call.path.span()), name: names.join("::") });
        self.add_tokens(call.tokens.clone());
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some((_, path, _)) = &item.trait_ {
            let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.traits.push(Named { line: line(path.span()), name: names.join("::") });
        }
        if let Some(token) = item.unsafety {
            self.unsafe_lines.push(line(token.span));
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        let types = signature.inputs.iter().filter_map(|input| match input {
            syn::FnArg::Typed(one) => Some(names_in_type(&one.ty)),
            syn::FnArg::Receiver(_) => None,
        });
        let returns = match &signature.output {
            syn::ReturnType::Type(_, one) => names_in_type(one),
            syn::ReturnType::Default => Vec::new(),
        };
        let parameters = types.flatten().collect();
        let (line_, name) = (line(signature.fn_token.span), signature.ident.to_string());
        self.functions.push(Function { line: line_, name, parameters, returns });
        if let Some(token) = signature.unsafety {
            self.unsafe_lines.push(line(token.span));
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafe_lines.push(line(block.unsafe_token.span));
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_foreign_mod(&mut self, item: &'ast syn::ItemForeignMod) {
        if let Some(token) = item.unsafety {
            self.unsafe_lines.push(line(token.span));
        }
        visit::visit_item_foreign_mod(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let Meta::List(list) = &attribute.meta else { return };
        if list.path.is_ident("derive") {
            for name in names_in_list(list.tokens.clone()) {
                self.derives.push(Named { line: line(attribute.span()), name });
            }
        }
        if list.path.is_ident("unsafe") {
            self.unsafe_lines.push(line(attribute.span()));
        }
    }
}

/// The last names of paths that commas part.
fn names_in_list(tokens: TokenStream) -> Vec<String> {
    let mut names = vec![String::new()];
    for token in tokens {
        match token {
            TokenTree::Ident(name) => *names.last_mut().expect("there is always one") = name.to_string(),
            TokenTree::Punct(mark) if mark.as_char() == ',' => names.push(String::new()),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn what_code_names_is_found_and_what_comments_and_literals_say_is_not() {
    let source = "//! std::fs\nuse a::{b::c, d as e, f::{self, *}};\n/* g::h */ const I: &str = \"j::k\";\nfn l(m: n::Res<o>) -> P {\n q!(\"{}\", r.s(t(1)), u::v, w!(), x != y);\n z.aa(bb(2), cc) }\n#[derive(Clone, dd::Ee)]\nstruct Ff;\nimpl gg::Hh for Ff {}\nunsafe extern \"C\" {}\n#[cfg(test)]\nmod tests { use std::ii; }";
    let syntax = syn::parse_file(source).expect("it is Rust");
    let code = Code::without_tests(&syntax);
    let named =
        |list: &[Named]| -> Vec<String> { list.iter().map(|one| format!("{} {}", one.line, one.name)).collect() };
    let paths = named(&code.paths);
    for path in ["2 a::b::c", "2 a::d", "2 a::f", "4 n::Res", "4 o", "4 P", "5 t", "5 u::v", "6 z", "6 bb", "9 gg::Hh"]
    {
        assert!(paths.contains(&path.to_owned()), "{path} in {paths:?}");
    }
    for path in ["std::fs", "g::h", "j::k", "std::ii"] {
        assert!(code.paths.iter().all(|one| one.name != path), "{path}");
    }
    assert_eq!(named(&code.macros), ["5 q", "5 w"]);
    assert_eq!(named(&code.derives), ["7 Clone", "7 Ee"]);
    assert_eq!(named(&code.traits), ["9 gg::Hh"]);
    let methods: Vec<_> = code.methods.iter().map(|one| (one.line, one.name.as_str(), one.argument.as_str())).collect();
    assert_eq!(methods, [(5, "s", "t"), (6, "aa", "bb")]);
    let function = &code.functions[0];
    assert_eq!(
        (function.line, function.parameters.join(" "), function.returns.join(" ")),
        (4, "n Res o".to_owned(), "P".to_owned())
    );
    assert_eq!(code.unsafe_lines, [10]);
    assert!(Code::of(&syntax).paths.iter().any(|one| one.is_within("std") && one.ends_with("ii")));
}
