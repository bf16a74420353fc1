//! One name, one type: what has the name of a public type of the engine is that type. Whoever reads `Lines` or `Table` in a file then knows which one
//! is meant without going through its imports.
//!
//! Types that no other file sees may have any name. So may those of agents' SDK, which stand on the other side of the ABI, and of `bench`.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::{Ident, Item, Visibility};

use crate::circles::folder_with;
use crate::dependencies::targets;
use crate::modules::{Crate, attributes, is_for_tests};
use crate::tree;

/// A type that other files see.
struct Named {
    name: String,
    file: String,
    /// Whether other crates see it, too.
    is_public: bool,
}

/// The types that a crate defines where other files see them.
fn types(krate: &Crate) -> Vec<Named> {
    let mut found = Vec::new();
    for (at, module) in krate.modules.iter().enumerate().filter(|(_, module)| !module.is_test) {
        let file = &krate.sources[module.file].path;
        let mut add = |name: &Ident, visibility: &Visibility| {
            let is_public = match visibility {
                Visibility::Public(_) => true,
                Visibility::Restricted(_) => false,
                Visibility::Inherited => return,
            };
            found.push(Named { name: name.to_string(), file: file.clone(), is_public });
        };
        for item in krate.items(at).iter().filter(|item| !is_for_tests(attributes(item))) {
            match item {
                Item::Struct(one) => add(&one.ident, &one.vis),
                Item::Enum(one) => add(&one.ident, &one.vis),
                Item::Union(one) => add(&one.ident, &one.vis),
                Item::Trait(one) => add(&one.ident, &one.vis),
                Item::Type(one) => add(&one.ident, &one.vis),
                // An invocation, such as that of `numbered_enum!`; a definition has a name.
                Item::Macro(one) if one.ident.is_none() => {
                    let public = Visibility::Public(syn::token::Pub::default());
                    defined_by(&one.mac.tokens).iter().for_each(|name| add(name, &public));
                }
                _ => {}
            }
        }
    }
    found
}

/// Names of the public types that a macro is given to define.
fn defined_by(tokens: &TokenStream) -> Vec<Ident> {
    let words: Vec<Option<Ident>> = tokens
        .clone()
        .into_iter()
        .map(|token| if let TokenTree::Ident(word) = token { Some(word) } else { None })
        .collect();
    let name = |three: &[Option<Ident>]| match three {
        [Some(public), Some(kind), Some(name)] if public == "pub" && (kind == "enum" || kind == "struct") => {
            Some(name.clone())
        }
        _ => None,
    };
    words.windows(3).filter_map(name).collect()
}

/// Complaints about types that have the name of a public one.
fn shared_names(types: &[Named]) -> Vec<String> {
    let mut by_name = BTreeMap::<&str, Vec<&Named>>::new();
    for one in types {
        by_name.entry(&one.name).or_default().push(one);
    }
    let mut wrong = Vec::new();
    for (name, all) in by_name {
        let mut files: Vec<&str> = all.iter().map(|one| one.file.as_str()).collect();
        // Two in one file are one for each of two platforms or features.
        files.dedup();
        if files.len() > 1 && all.iter().any(|one| one.is_public) {
            wrong.push(format!("{name} names a type in each of {}", files.join(", ")));
        }
    }
    wrong
}

#[test]
fn no_two_types_have_the_name_of_a_public_one() {
    let canary = folder_with(&[
        (
            "src/lib.rs",
            "pub mod a;\nmod b;\npub enum Both {}\nm! { #[doc = \"\"] pub enum Made: u8 { A = 0; } }\nmacro_rules! m { () => { pub enum Rule {} } }",
        ),
        (
            "src/a.rs",
            "#[cfg(unix)]\npub struct Twin;\n#[cfg(windows)]\npub struct Twin;\npub(crate) struct Inner;\nstruct Both;\npub struct Rule;\n#[cfg(test)]\nmod tests { pub struct Made; }",
        ),
        ("src/b.rs", "pub(crate) type Both = u8;\npub(super) struct Inner;\npub(super) struct Made;"),
    ]);
    let found = shared_names(&types(&Crate::load(canary.path(), "src/lib.rs")));
    assert_eq!(
        found,
        ["Both names a type in each of src/lib.rs, src/b.rs", "Made names a type in each of src/lib.rs, src/b.rs"]
    );

    let root = tree::root();
    let of_engine = |name: &str| !name.starts_with("wasm-engine-sdk") && !name.starts_with("wasm-engine-bench");
    let all: Vec<_> = targets()
        .into_iter()
        .filter(|target| of_engine(&target.name()))
        .flat_map(|target| types(&Crate::load(&root, &target.root_file)))
        .collect();
    assert!(all.len() > 400, "only {} types were found", all.len());
    let wrong = shared_names(&all);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
