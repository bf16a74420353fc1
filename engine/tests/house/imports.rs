//! What each file of a crate imports: which other files of the crate define what its code names. A `mod` line imports nothing, nor
//! does a re-export (`pub use`) whose name the file itself doesn't use: both only say where something is to be found. An import through
//! a re-export is one of the file that defines the item. Code for tests is left out.

use std::collections::{BTreeMap, BTreeSet};

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Item, UseTree, Visibility};

use crate::code::Code;
use crate::modules::{Crate, attributes, is_for_tests};

/// For each file of a crate, by its place in the crate's list: the files that it imports, and by which lines.
pub type Imports = Vec<BTreeMap<usize, BTreeSet<Import>>>;

/// A line that imports, and the path that it names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub line: usize,
    pub path: String,
}

/// What a name in a module stands for.
enum Meaning {
    /// An item that the module defines.
    Item,
    /// A module in it.
    Module(usize),
    /// What a `use` says.
    Path(Vec<String>),
}

/// Names of a module, or of a block with `use` in it.
#[derive(Default)]
struct Scope {
    names: BTreeMap<String, Vec<Meaning>>,
    /// Paths with a `*` at their end.
    globs: Vec<Vec<String>>,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Module(usize),
    /// An item, by the file that defines it.
    Item(usize),
}

/// Everything that a crate's paths can lead to.
struct Names<'a> {
    krate: &'a Crate,
    /// Of each module.
    scopes: Vec<Scope>,
    /// Macros by example are also found by their place in the text.
    macros: BTreeMap<String, usize>,
}

/// Returns what each file of the crate imports of the crate's other files.
pub fn imports(krate: &Crate) -> Imports {
    let names = Names::of(krate);
    let mut imports: Imports = krate.sources.iter().map(|_| BTreeMap::new()).collect();
    for (id, module) in krate.modules.iter().enumerate().filter(|(_, module)| !module.is_test) {
        let mut reader = Reader { names: &names, module: id, blocks: Vec::new(), imports: &mut imports[module.file] };
        for item in krate.items(id) {
            reader.visit_item(item);
        }
        imports[module.file].remove(&module.file);
    }
    imports
}

impl<'a> Names<'a> {
    fn of(krate: &'a Crate) -> Self {
        let mut names =
            Self { krate, scopes: krate.modules.iter().map(|_| Scope::default()).collect(), macros: BTreeMap::new() };
        for (id, module) in krate.modules.iter().enumerate() {
            if let Some(parent) = module.parent {
                names.scopes[parent].add(&module.name, Meaning::Module(id));
            }
            for item in krate.items(id).iter().filter(|item| !is_for_tests(attributes(item))) {
                match item {
                    Item::Use(one) => names.scopes[id].add_use(&one.tree),
                    Item::Macro(one) => {
                        if let Some(name) = &one.ident {
                            names.scopes[id].add(&name.to_string(), Meaning::Item);
                            names.macros.insert(name.to_string(), module.file);
                        }
                    }
                    item => {
                        if let Some(name) = name(item) {
                            names.scopes[id].add(&name, Meaning::Item);
                        }
                    }
                }
            }
        }
        names
    }

    /// What a path leads to from a module and the blocks around it. A path that leads out of the crate leads nowhere.
    fn follow(&self, module: usize, blocks: &[Scope], path: &[String]) -> BTreeSet<Found> {
        self.walk(module, blocks, path, &mut BTreeSet::new())
    }

    fn walk(
        &self,
        module: usize,
        blocks: &[Scope],
        path: &[String],
        seen: &mut BTreeSet<(usize, String)>,
    ) -> BTreeSet<Found> {
        let Some((first, rest)) = path.split_first() else { return BTreeSet::new() };
        let mut found: BTreeSet<Found> = match first.as_str() {
            "crate" => [Found::Module(0)].into(),
            "self" => [Found::Module(module)].into(),
            "super" => self.krate.modules[module].parent.map(Found::Module).into_iter().collect(),
            name => {
                let inner = blocks.iter().rev().map(|block| self.look_up(module, block, name, seen));
                let inner = inner.into_iter().find(|found| !found.is_empty());
                inner.unwrap_or_else(|| self.look_up_in_module(module, name, seen))
            }
        };
        for name in rest {
            found = found
                .into_iter()
                .flat_map(|one| match one {
                    Found::Module(module) if name == "super" => {
                        self.krate.modules[module].parent.map(Found::Module).into_iter().collect()
                    }
                    Found::Module(module) if name == "self" => [Found::Module(module)].into(),
                    Found::Module(module) => self.look_up_in_module(module, name, seen),
                    // A variant, or an associated item.
                    Found::Item(file) => [Found::Item(file)].into(),
                })
                .collect();
        }
        found
    }

    fn look_up_in_module(&self, module: usize, name: &str, seen: &mut BTreeSet<(usize, String)>) -> BTreeSet<Found> {
        // A name may lead back to itself through globs.
        if !seen.insert((module, name.to_owned())) {
            return BTreeSet::new();
        }
        let found = self.look_up(module, &self.scopes[module], name, seen);
        seen.remove(&(module, name.to_owned()));
        found
    }

    fn look_up(
        &self,
        module: usize,
        scope: &Scope,
        name: &str,
        seen: &mut BTreeSet<(usize, String)>,
    ) -> BTreeSet<Found> {
        let mut found = BTreeSet::new();
        for meaning in scope.names.get(name).into_iter().flatten() {
            match meaning {
                Meaning::Item => {
                    found.insert(Found::Item(self.krate.modules[module].file));
                }
                Meaning::Module(id) => {
                    found.insert(Found::Module(*id));
                }
                Meaning::Path(path) => found.extend(self.walk(module, &[], path, seen)),
            }
        }
        // What is named hides what a glob brings.
        if found.is_empty() {
            for glob in &scope.globs {
                for target in self.walk(module, &[], glob, seen) {
                    if let Found::Module(target) = target {
                        found.extend(self.look_up_in_module(target, name, seen));
                    }
                }
            }
        }
        found
    }
}

impl Scope {
    fn add(&mut self, name: &str, meaning: Meaning) {
        self.names.entry(name.to_owned()).or_default().push(meaning);
    }

    fn add_use(&mut self, tree: &UseTree) {
        for leaf in leaves(tree) {
            match leaf.name {
                Some(name) => self.add(&name, Meaning::Path(leaf.path)),
                None => self.globs.push(leaf.path),
            }
        }
    }
}

/// One thing that a `use` brings.
struct Leaf {
    path: Vec<String>,
    /// The name that it has from then on; `None` of a glob.
    name: Option<String>,
    line: usize,
}

/// Everything that a `use` brings. Paths are kept as they are, so that `use a as a` leads to the crate `a`, not to itself.
fn leaves(tree: &UseTree) -> Vec<Leaf> {
    fn add(tree: &UseTree, before: &[String], leaves: &mut Vec<Leaf>) {
        let with = |name: &syn::Ident| -> Vec<String> { before.iter().cloned().chain([name.to_string()]).collect() };
        let line = tree.span().start().line;
        match tree {
            UseTree::Path(one) => add(&one.tree, &with(&one.ident), leaves),
            UseTree::Group(group) => group.items.iter().for_each(|tree| add(tree, before, leaves)),
            UseTree::Glob(_) => leaves.push(Leaf { path: before.to_vec(), name: None, line }),
            UseTree::Name(one) if one.ident == "self" => {
                leaves.push(Leaf { path: before.to_vec(), name: before.last().cloned(), line });
            }
            UseTree::Name(one) => {
                leaves.push(Leaf { path: with(&one.ident), name: Some(one.ident.to_string()), line });
            }
            UseTree::Rename(one) => {
                let path = if one.ident == "self" { before.to_vec() } else { with(&one.ident) };
                leaves.push(Leaf { path, name: Some(one.rename.to_string()), line });
            }
        }
    }
    let mut found = Vec::new();
    add(tree, &[], &mut found);
    found
}

/// Reads the code of one module.
struct Reader<'a> {
    names: &'a Names<'a>,
    module: usize,
    /// Of the blocks around what is read.
    blocks: Vec<Scope>,
    imports: &'a mut BTreeMap<usize, BTreeSet<Import>>,
}

impl Reader<'_> {
    fn add(&mut self, path: &[String], line: usize) {
        for found in self.names.follow(self.module, &self.blocks, path) {
            if let Found::Item(file) = found {
                let import = Import { line, path: path.join("::") };
                self.imports.entry(file).or_default().insert(import);
            }
        }
    }

    /// A macro that is found by its place in the text: no path leads to it.
    fn add_macro(&mut self, name: &str, line: usize) {
        if let Some(&file) = self.names.macros.get(name) {
            self.imports.entry(file).or_default().insert(Import { line, path: format!("{name}!") });
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        // Modules in it are read by themselves.
        if !is_for_tests(attributes(item)) && !matches!(item, Item::Mod(_)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if matches!(item.vis, Visibility::Inherited) {
            for leaf in leaves(&item.tree) {
                self.add(&leaf.path, leaf.line);
            }
        }
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        let mut scope = Scope::default();
        for statement in &block.stmts {
            if let syn::Stmt::Item(Item::Use(one)) = statement {
                scope.add_use(&one.tree);
            }
        }
        self.blocks.push(scope);
        visit::visit_block(self, block);
        self.blocks.pop();
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if path.leading_colon.is_none() {
            self.add(&names, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        if let Some(name) = call.path.get_ident() {
            self.add_macro(&name.to_string(), name.span().start().line);
        }
        let code = Code::of_tokens(call.tokens.clone());
        for named in code.paths {
            let path: Vec<String> = named.segments().map(str::to_owned).collect();
            self.add(&path, named.line);
        }
        for named in code.macros {
            self.add_macro(&named.name, named.line);
        }
    }

    // `pub(in path)` and attributes import nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

/// The name that an item gives to its module.
fn name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(one) => &one.ident,
        Item::Enum(one) => &one.ident,
        Item::Fn(one) => &one.sig.ident,
        Item::Static(one) => &one.ident,
        Item::Struct(one) => &one.ident,
        Item::Trait(one) => &one.ident,
        Item::TraitAlias(one) => &one.ident,
        Item::Type(one) => &one.ident,
        Item::Union(one) => &one.ident,
        _ => return None,
    };
    Some(name.to_string())
}
