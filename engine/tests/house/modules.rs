//! A crate as rustc sees it: its files, parsed, and the modules in them. Modules are found as rustc finds them, by `mod` lines.

use std::fs;
use std::path::Path;

use syn::{Attribute, Expr, Item, Lit, Meta};

/// A source file of a crate.
pub struct Source {
    /// From the root of the repository, with slashes on every platform.
    pub path: String,
    /// Its items.
    pub syntax: syn::File,
}

/// A module: a file's, or one in braces.
pub struct Module {
    /// The file in which it stands.
    pub file: usize,
    /// The module that it is declared in; `None` of the crate's root.
    pub parent: Option<usize>,
    /// Its name; empty for the root.
    pub name: String,
    /// Names of the modules in braces that lead to it from its file's own.
    inline: Vec<String>,
    /// Whether it is compiled for tests alone.
    pub is_test: bool,
}

/// A target of a package: a library or a program.
pub struct Crate {
    pub sources: Vec<Source>,
    /// The first is the root.
    pub modules: Vec<Module>,
}

impl Crate {
    /// Reads the crate whose root is the file `root_file`, a path from the folder `root`.
    pub fn load(root: &Path, root_file: &str) -> Self {
        let mut found = Self { sources: Vec::new(), modules: Vec::new() };
        let (folder, _) = split(root_file);
        let module = Module { file: 0, parent: None, name: String::new(), inline: Vec::new(), is_test: false };
        found.add_file(root, root_file.to_owned(), folder, module);
        found
    }

    /// The items of a module.
    pub fn items(&self, module: usize) -> &[Item] {
        let module = &self.modules[module];
        let mut items = self.sources[module.file].syntax.items.as_slice();
        for name in &module.inline {
            let inline = items.iter().find_map(|item| match item {
                Item::Mod(one) if one.ident == name => one.content.as_ref(),
                _ => None,
            });
            items = &inline.expect("a module in braces has items").1;
        }
        items
    }

    /// Whether a file is compiled for tests alone.
    pub fn is_test(&self, file: usize) -> bool {
        self.modules.iter().all(|module| module.file != file || module.is_test)
    }

    fn add_file(&mut self, root: &Path, path: String, below: &str, mut module: Module) {
        let text = fs::read_to_string(root.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        module.file = self.sources.len();
        let items = syntax.items.clone();
        self.sources.push(Source { path, syntax });
        self.add_module(root, below, module, &items);
    }

    /// Adds a module and those in it. Files of its `mod` lines lie in the folder `below`.
    fn add_module(&mut self, root: &Path, below: &str, module: Module, items: &[Item]) {
        let (id, file, is_test) = (self.modules.len(), module.file, module.is_test);
        let inline = module.inline.clone();
        self.modules.push(module);
        for item in items {
            let Item::Mod(child) = item else { continue };
            let name = child.ident.to_string();
            let is_test = is_test || is_for_tests(&child.attrs);
            let mut module = Module { file, parent: Some(id), name, inline: Vec::new(), is_test };
            let folder = format!("{below}/{}", module.name);
            if let Some((_, items)) = &child.content {
                module.inline = inline.iter().chain([&module.name]).cloned().collect();
                self.add_module(root, &folder, module, items);
                continue;
            }
            let (beside, _) = split(&self.sources[file].path);
            let path = match path_attribute(&child.attrs) {
                Some(other) => normal(&format!("{beside}/{other}")),
                None => format!("{folder}.rs"),
            };
            // What `#[path]` names and a `mod.rs` have their own modules beside them.
            let (path, below) = if path_attribute(&child.attrs).is_some() {
                let below = split(&path).0.to_owned();
                (path, below)
            } else if root.join(&path).exists() {
                (path, folder)
            } else {
                (format!("{folder}/mod.rs"), folder)
            };
            self.add_file(root, path, &below, module);
        }
    }
}

/// A path's folder and the name in it.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}

/// Whether what has these attributes is compiled for tests alone.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else { return false };
        let condition = list.tokens.to_string().replace(' ', "");
        list.path.is_ident("cfg") && (condition == "test" || condition.starts_with("all(test,"))
    })
}

/// The attributes of an item.
pub fn attributes(item: &Item) -> &[syn::Attribute] {
    match item {
        Item::Const(one) => &one.attrs,
        Item::Enum(one) => &one.attrs,
        Item::ExternCrate(one) => &one.attrs,
        Item::Fn(one) => &one.attrs,
        Item::ForeignMod(one) => &one.attrs,
        Item::Impl(one) => &one.attrs,
        Item::Macro(one) => &one.attrs,
        Item::Mod(one) => &one.attrs,
        Item::Static(one) => &one.attrs,
        Item::Struct(one) => &one.attrs,
        Item::Trait(one) => &one.attrs,
        Item::TraitAlias(one) => &one.attrs,
        Item::Type(one) => &one.attrs,
        Item::Union(one) => &one.attrs,
        Item::Use(one) => &one.attrs,
        _ => &[],
    }
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else { return None };
        match &pair.value {
            Expr::Lit(value) if pair.path.is_ident("path") => match &value.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        }
    })
}

/// A path without `.` and `..`.
fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}
