//! What public functions give as errors: types that implement `Error`, so that they can be passed on by `?`, asked for their cause, and told
//! from each other. A bare text can't.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{GenericArgument, Item, PathArguments, Type, Visibility};

use crate::circles::folder_with;
use crate::code::{self, Code, Source};
use crate::dependencies::targets;
use crate::modules::{Crate, attributes, is_for_tests};
use crate::tree;

/// Types in the place of errors that are none, and why.
const EXCUSED: [(&str, &str); 2] = [
    ("CallFault", "what an agent did wrong is data, which goes on the record"),
    ("BounceReason", "why a message isn't delivered is data, which its sender is told"),
];
/// Errors of other crates, by their names; `Error` is also that of a trait's implementor, and `E` one that the caller chooses.
const FOREIGN: [&str; 2] = ["E", "Error"];
/// How the name of a type ends that says what went wrong.
const ENDINGS: [&str; 2] = ["Error", "Problem"];

/// Where enums of errors are whole: they are numbers of an ABI version, or what an agent matches to go on.
const WHOLE: [&str; 2] = ["components/abi/", "agents/sdk/"];

/// What a crate says of its errors.
#[derive(Default)]
struct Errors {
    /// Types that implement `Error`.
    implemented: BTreeSet<String>,
    /// Public types that are named as errors: where, and the name.
    named: Vec<(String, String)>,
    /// What public functions give as errors: where, the function, and the type, where it has a name.
    given: Vec<(String, String, Option<String>)>,
    /// Types that aren't public: nor are their functions.
    private: BTreeSet<String>,
    /// Public enums that are errors and can't get another variant without breaking who matches them: where, and the name.
    closed: Vec<(String, String)>,
    /// Errors whose text says what their source says: where, and the name.
    said_twice: Vec<(String, String)>,
    /// What the texts and the sources of errors name that are written by hand, without thiserror.
    by_hand: BTreeMap<(String, String), ByHand>,
}

/// An error without thiserror.
#[derive(Default)]
struct ByHand {
    /// What `fmt` of its `Display` names.
    said: BTreeSet<String>,
    /// What `source` returns. What it asks for its own source isn't among it.
    sources: BTreeSet<String>,
}

impl Errors {
    fn add(&mut self, krate: &Crate) {
        for (file, source) in krate.sources.iter().enumerate().filter(|(file, _)| !krate.is_test(*file)) {
            let path = &krate.sources[file].path;
            for item in &source.syntax.items {
                let (Item::Enum(syn::ItemEnum { vis, ident, .. }) | Item::Struct(syn::ItemStruct { vis, ident, .. })) =
                    item
                else {
                    continue;
                };
                if !matches!(vis, Visibility::Public(_)) {
                    self.private.insert(format!("{path}: {ident}"));
                }
            }
            let mut reader = Reader { errors: self, path, is_public: true };
            reader.visit_file(&source.syntax);
        }
    }

    fn complaints(&self) -> Vec<String> {
        let is_error = |name: &String| self.implemented.contains(name) || FOREIGN.contains(&name.as_str());
        let named = self.named.iter().filter(|(_, name)| !is_error(name));
        let named = named.map(|(path, name)| format!("{path}: `{name}` doesn't implement `Error`"));
        let given = self.given.iter().filter_map(|(path, function, name)| match name {
            Some(name) if is_error(name) || EXCUSED.iter().any(|(excused, _)| excused == name) => None,
            Some(name) => Some(format!("{path}: `{function}` gives `{name}`, which doesn't implement `Error`")),
            None => Some(format!("{path}: `{function}` gives an error that is no type of its own")),
        });
        let by_hand = self.by_hand.iter().filter(|(_, error)| !error.said.is_disjoint(&error.sources));
        let twice = self.said_twice.iter().chain(by_hand.map(|(at, _)| at));
        let twice = twice.map(|(path, name)| format!("{path}: the text of `{name}` says what its source says, too"));
        let closed = self.closed.iter().filter(|(path, _)| !WHOLE.iter().any(|room| path.starts_with(room)));
        let closed = closed.map(|(path, name)| format!("{path}: `{name}` isn't `non_exhaustive`"));
        named.chain(given).chain(twice).chain(closed).collect()
    }
}

/// Goes through a file that isn't for tests alone.
struct Reader<'a> {
    errors: &'a mut Errors,
    path: &'a str,
    /// Whether the functions of the type or the trait at hand can be public.
    is_public: bool,
}

impl Reader<'_> {
    fn add_type(&mut self, name: &syn::Ident, visibility: &Visibility, attributes: &[syn::Attribute]) {
        let name = name.to_string();
        let mut code = Code::default();
        attributes.iter().for_each(|attribute| code.visit_attribute(attribute));
        if code.derives.iter().any(|derived| derived.name == "Error") {
            self.errors.implemented.insert(name.clone());
        }
        if matches!(visibility, Visibility::Public(_)) && ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            self.errors.named.push((self.path.to_owned(), name));
        }
    }

    fn add_function(&mut self, signature: &syn::Signature) {
        let mut results = Results::default();
        results.visit_return_type(&signature.output);
        for name in results.0 {
            self.errors.given.push((self.path.to_owned(), signature.ident.to_string(), name));
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_for_tests(attributes(item)) {
            return;
        }
        match item {
            Item::Enum(one) => {
                self.add_type(&one.ident, &one.vis, &one.attrs);
                let is_closed = !one.attrs.iter().any(|attribute| attribute.path().is_ident("non_exhaustive"));
                if matches!(one.vis, Visibility::Public(_)) && is_closed && is_error(&one.ident, &one.attrs) {
                    self.errors.closed.push((self.path.to_owned(), one.ident.to_string()));
                }
                let twice = one.variants.iter().any(|variant| says_its_source(&variant.attrs, &variant.fields));
                self.errors.said_twice.extend(twice.then(|| (self.path.to_owned(), one.ident.to_string())));
            }
            Item::Struct(one) => {
                self.add_type(&one.ident, &one.vis, &one.attrs);
                let twice = says_its_source(&one.attrs, &one.fields);
                self.errors.said_twice.extend(twice.then(|| (self.path.to_owned(), one.ident.to_string())));
            }
            Item::Fn(one) if matches!(one.vis, Visibility::Public(_)) => self.add_function(&one.sig),
            Item::Impl(one) => {
                let of = one.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
                let name = last_name(&one.self_ty).unwrap_or_default();
                self.is_public = !self.errors.private.contains(&format!("{}: {name}", self.path));
                let functions = || {
                    one.items
                        .iter()
                        .filter_map(|item| if let syn::ImplItem::Fn(function) = item { Some(function) } else { None })
                };
                let by_hand = || (self.path.to_owned(), name.clone());
                if of.is_some_and(|last| last.ident == "Display") {
                    let mut said = NamedIn::default();
                    functions().for_each(|function| said.visit_block(&function.block));
                    self.errors.by_hand.entry(by_hand()).or_default().said.extend(said.names);
                }
                if of.is_some_and(|last| last.ident == "Error") {
                    let mut returned = NamedIn { is_source: true, ..NamedIn::default() };
                    let mut functions = functions();
                    let source = functions.find(|function| function.sig.ident == "source");
                    source.iter().for_each(|function| returned.visit_block(&function.block));
                    self.errors.by_hand.entry(by_hand()).or_default().sources.extend(returned.names);
                    self.errors.implemented.insert(name);
                }
            }
            Item::Trait(one) => self.is_public = matches!(one.vis, Visibility::Public(_)),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if self.is_public && matches!(function.vis, Visibility::Public(_)) && !is_for_tests(&function.attrs) {
            self.add_function(&function.sig);
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if self.is_public {
            self.add_function(&function.sig);
        }
    }
}

/// Whether an enum is an error: by its name, or because it derives `Error`.
fn is_error(name: &syn::Ident, attributes: &[syn::Attribute]) -> bool {
    let mut code = Code::default();
    attributes.iter().for_each(|attribute| code.visit_attribute(attribute));
    let name = name.to_string();
    code.derives.iter().any(|derived| derived.name == "Error" || derived.name.ends_with("::Error"))
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Whether the text of thiserror's attribute names the field that is the source: in braces, or among the values for them. A function that makes the
/// text (`fmt = ...`) counts as one that does.
fn says_its_source(attributes: &[syn::Attribute], fields: &syn::Fields) -> bool {
    let text = attributes.iter().find(|attribute| attribute.path().is_ident("error"));
    let Some(syn::Meta::List(text)) = text.map(|attribute| &attribute.meta) else { return false };
    let named = names(text.tokens.clone());
    fields.iter().enumerate().any(|(at, field)| {
        let name = field.ident.as_ref().map_or_else(|| at.to_string(), ToString::to_string);
        let is_marked = field.attrs.iter().any(|one| one.path().is_ident("source") || one.path().is_ident("from"));
        (is_marked || name == "source") && (named.contains(&name) || named.contains("fmt"))
    })
}

/// Returns what tokens name: words, numbers of fields, and what stands in the braces of texts.
fn names(tokens: TokenStream) -> BTreeSet<String> {
    let (mut names, mut is_after_dot) = (BTreeSet::new(), false);
    for token in tokens {
        let is_dot = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '.');
        match token {
            TokenTree::Group(group) => names.extend(self::names(group.stream())),
            TokenTree::Ident(ident) => _ = names.insert(ident.to_string()),
            TokenTree::Literal(literal) => match syn::parse_str(&literal.to_string()) {
                Ok(syn::Lit::Str(text)) => names.extend(in_braces(&text.value())),
                Ok(syn::Lit::Int(number)) if is_after_dot => _ = names.insert(number.to_string()),
                _ => {}
            },
            TokenTree::Punct(_) => {}
        }
        is_after_dot = is_dot;
    }
    names
}

/// Returns what stands in the braces of a text for `format!`, up to a colon.
fn in_braces(text: &str) -> Vec<String> {
    let text = text.replace("{{", "");
    let inner = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    inner.filter_map(|(inner, _)| inner.split(':').next()).map(|name| name.trim().to_owned()).collect()
}

/// What a function names: variables, and the last field of each access to fields.
#[derive(Default)]
struct NamedIn {
    names: BTreeSet<String>,
    /// Whether it is `source`. What it asks for its own source isn't what it returns.
    is_source: bool,
}

impl<'ast> Visit<'ast> for NamedIn {
    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let is_source_of = |argument: &syn::Expr| matches!(argument, syn::Expr::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "source"));
        // `error.source()`, and `errors.first().and_then(Error::source)`.
        if !(self.is_source && (call.method == "source" || call.args.iter().any(is_source_of))) {
            visit::visit_expr_method_call(self, call);
        }
    }

    fn visit_macro(&mut self, one: &'ast syn::Macro) {
        self.names.extend(names(one.tokens.clone()));
    }

    fn visit_expr_field(&mut self, field: &'ast syn::ExprField) {
        self.names.insert(match &field.member {
            syn::Member::Named(name) => name.to_string(),
            syn::Member::Unnamed(index) => index.index.to_string(),
        });
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let name = path.path.get_ident().map(ToString::to_string);
        self.names.extend(name.filter(|name| name.starts_with(char::is_lowercase) && name != "self"));
    }
}

/// The last name of a type's path.
fn last_name(one: &Type) -> Option<String> {
    let Type::Path(path) = one else { return None };
    path.path.segments.last().map(|last| last.ident.to_string())
}

/// The error of each `Result` with two arguments in a type: the last name of its path, or none of what is no path.
#[derive(Default)]
struct Results(Vec<Option<String>>);

impl<'ast> Visit<'ast> for Results {
    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        if let (true, PathArguments::AngleBracketed(list)) = (segment.ident == "Result", &segment.arguments)
            && let Some(GenericArgument::Type(error)) = list.args.iter().nth(1)
        {
            self.0.push(last_name(error));
        }
        visit::visit_path_segment(self, segment);
    }
}

#[test]
fn public_errors_implement_error() {
    let of = |text: &str| {
        let folder = folder_with(&[("lib.rs", text)]);
        let mut errors = Errors::default();
        errors.add(&Crate::load(folder.path(), "lib.rs"));
        errors.complaints()
    };
    for canary in [
        "pub fn f() -> Result<(), String> { Ok(()) }",
        "pub struct A;\nimpl A { pub fn f() -> Option<Result<u8, &'static str>> { None } }",
        "pub struct Bad;\npub fn f() -> Result<u8, Bad> { Ok(1) }",
        "pub trait A { fn f(&self) -> Result<(), (u8, u8)>; }",
        "#[derive(Debug)]\n#[non_exhaustive]\npub enum ReadError { Io }",
        "#[derive(Debug, thiserror::Error)]\npub enum Misread { #[error(\"no\")] Io }",
        "pub struct FileProblem;\nimpl std::fmt::Display for FileProblem {}",
        "#[derive(Debug, thiserror::Error)]\nenum Bad { #[error(\"no: {0}\")] Io(#[from] Io) }",
        "#[derive(Debug, thiserror::Error)]\n#[error(\"no ({source})\")]\nstruct Bad { source: Io }",
        "#[derive(Debug, thiserror::Error)]\n#[error(\"no ({source:#})\")]\nstruct Bad { source: Io }",
        "#[derive(Debug, thiserror::Error)]\n#[error(\"no {0:?}\")]\nstruct Bad(#[source] Io);",
        "#[derive(Debug, thiserror::Error)]\n#[error(\"no ({})\", .0)]\nstruct Bad(#[from] Io);",
        "#[derive(Debug, thiserror::Error)]\nenum Bad { #[error(\"no {}\", with_causes(cause))] Io { #[source] cause: Io } }",
        "#[derive(Debug, thiserror::Error)]\n#[error(fmt = text)]\nstruct Bad { source: Io }",
        "struct Bad(Io);\nimpl Display for Bad { fn fmt(&self) -> R { write!(f, \"no: {}\", self.0) } }
        impl Error for Bad { fn source(&self) -> S { Some(&self.0) } }",
        "enum Bad { Io(Io) }\nimpl Display for Bad { fn fmt(&self) -> R { match self { Self::Io(error) => write!(f, \"no: {error:#}\") } } }
        impl Error for Bad { fn source(&self) -> S { match self { Self::Io(error) => Some(error) } } }",
    ] {
        assert_eq!(of(canary).len(), 1, "{canary}");
    }
    let fine = "use std::io;\n#[derive(Debug, thiserror::Error)]\n#[non_exhaustive]\npub enum ReadError {}\npub struct Bad;\nimpl core::error::Error for Bad {}
        pub fn f() -> Result<io::Result<u8>, Bad> { Ok(Ok(1)) }\npub fn g<E>() -> Result<fmt::Result, E> { h() }\nfn h() -> Result<(), String> { Ok(()) }
        pub(super) fn i() -> Result<(), String> { Ok(()) }\nstruct Own;\nimpl Own { pub fn j() -> Result<(), String> { Ok(()) } }
        struct Whole { what: Io }\nimpl Display for Whole { fn fmt(&self) -> R { write!(f, \"no: {}\", self.what) } }
        impl Error for Whole { fn source(&self) -> S { self.what.source() } }
        struct Part { what: String, cause: Io }\nimpl Display for Part { fn fmt(&self) -> R { write!(f, \"{{cause}} {}\", self.what) } }
        impl Error for Part { fn source(&self) -> S { Some(&self.cause) } }
        #[derive(Debug, thiserror::Error)]\nenum Good { #[error(\"no: {0}\")] Io(Io), #[error(\"no\")] Disk { source: Io } }\ntrait A { fn f() -> Result<(), String>; }\n#[cfg(test)]\nmod tests { pub fn f() -> Result<(), String> { Ok(()) } }";
    assert_eq!(of(fine), [""; 0]);

    let mut errors = Errors::default();
    for target in targets().iter().filter(|target| target.package != "wasm-engine-bench") {
        errors.add(&Crate::load(&tree::root(), &target.root_file));
    }
    assert!(errors.implemented.len() > 20 && errors.given.len() > 50, "they are read");
    let found = errors.complaints();
    assert!(found.is_empty(), "{}", found.join("\n"));
    for (excused, why) in EXCUSED {
        let is_there = errors.given.iter().any(|(.., name)| name.as_deref() == Some(excused));
        assert!(is_there && !why.is_empty(), "{excused} isn't given any more, or has no reason");
    }
}

/// The only file that says what an exit status is.
const STATUS: &str = "engine/cli/src/status.rs";
/// The only one that ends the process by one.
const SIGNALS: &str = "engine/cli/src/signals.rs";

/// Ways to an exit status other than by a `Status`.
fn own_statuses(path: &str, code: &Code) -> Vec<String> {
    let exits = ["process::exit", "libc::_exit", "process::abort", "libc::abort"];
    let found = code.paths.iter().filter(|named| {
        // Where it is the last name, it is a type: that of what `main` returns.
        let makes = named.has("ExitCode::") && path != STATUS;
        let ends = exits.iter().any(|exit| named.ends_with(exit)) && path != SIGNALS;
        makes || ends
    });
    found
        .map(|named| format!("{path}:{}: `{}`: the exit status is that of a `Status`", named.line, named.name))
        .collect()
}

#[test]
fn an_exit_status_follows_from_the_kind_of_the_error_in_one_place() {
    let of = |path: &str, text: &str| own_statuses(path, &Code::without_tests(&syn::parse_file(text).unwrap())).len();
    let made = "fn f() -> ExitCode { std::process::ExitCode::from(3) }";
    let exits = "fn f() { std::process::exit(2) }";
    assert_eq!((of("engine/cli/src/run.rs", made), of("engine/cli/src/run.rs", exits)), (1, 1));
    assert_eq!((of(STATUS, made), of(STATUS, exits), of(SIGNALS, exits)), (0, 1, 0));
    assert_eq!(of("engine/src/main.rs", "fn main() -> std::process::ExitCode { cli::main() }"), 0);

    let engine = |source: &&Source| source.path.starts_with("engine/") && source.path.contains("/src/");
    let found: Vec<String> = code::sources()
        .iter()
        .filter(engine)
        .flat_map(|source| own_statuses(&source.path, &source.without_tests))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    // What ends the process there takes the number of a `Status`, each time.
    let signals = code::sources().iter().find(|source| source.path == SIGNALS).expect("it is there");
    assert_eq!((signals.without_tests.calls("code"), signals.without_tests.names("exit_now")), (2, 0));
}
