//! The layers of the driver: which file imports which, read from the tokens of the sources.
//!
//! An import is a path that begins with `crate::` or `super::`, in a `use` or anywhere else. A
//! path to a name that the root of the crate re-exports counts as an import of the file that has
//! it. The layer of a file is its folder. The file at the root of the crate imports all layers
//! and is imported by none. Documentation and items under `#[cfg(test)]` may name anything.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The driver's layers, lowest first. A file imports its own layer and those before it.
pub(crate) const LAYERS: [&str; 7] = ["base", "stats", "message", "link", "serve", "call", "node"];

/// The files of one crate and what each of them imports, by module path such as `link::task`.
pub(crate) struct Imports {
    of: BTreeMap<String, BTreeSet<String>>,
}

impl Imports {
    /// Reads the modules of a crate: the path of each file from `src/`, and its text.
    pub(crate) fn parse(files: &[(String, String)]) -> Self {
        let modules: BTreeMap<String, &str> =
            files.iter().map(|(file, text)| (module(file), &**text)).collect();
        let root = modules.get("").copied().unwrap_or_default();
        let exported = exports(&paths(root, ""), &modules);
        let mut of = BTreeMap::new();
        for (module, text) in &modules {
            let is_test = module.split("::").any(|part| part == "tests");
            if module.is_empty() || is_test {
                continue;
            }
            let imported = paths(text, module).into_iter().filter_map(|path| {
                let name = path.first()?;
                file_of(&path, &modules).or_else(|| exported.get(name).cloned())
            });
            let imported: BTreeSet<String> = imported.filter(|other| other != module).collect();
            of.insert(module.clone(), imported);
        }
        Self { of }
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }

    /// Imports that run up, as complaints; and files that are in no layer.
    pub(crate) fn upward(&self) -> Vec<String> {
        let level = |module: &str| {
            let folder = module.split("::").next().unwrap_or_default();
            LAYERS.iter().position(|layer| *layer == folder)
        };
        let mut complaints = Vec::new();
        for (module, imported) in &self.of {
            let Some(own) = level(module) else {
                complaints.push(format!("{module} is in none of the layers {LAYERS:?}"));
                continue;
            };
            for other in imported {
                if level(other).is_none_or(|other| other > own) {
                    complaints.push(format!("{module} imports {other}, which is above it"));
                }
            }
        }
        complaints
    }

    /// Groups of two or more files that import each other, directly or through others.
    pub(crate) fn circles(&self) -> Vec<BTreeSet<String>> {
        let mut circles: Vec<BTreeSet<String>> = Vec::new();
        for module in self.of.keys() {
            let circle: BTreeSet<String> = self
                .reached(module)
                .into_iter()
                .filter(|other| self.reached(other).contains(module))
                .collect();
            if circle.len() > 1 && !circles.contains(&circle) {
                circles.push(circle);
            }
        }
        circles
    }

    /// The number of files in the longest chain of imports, each circle counted as one.
    pub(crate) fn longest_chain(&self) -> usize {
        let mut lengths = BTreeMap::new();
        let circles = self.circles();
        let group = |module: &String| {
            let circle = circles.iter().find(|circle| circle.contains(module));
            circle.cloned().unwrap_or_else(|| BTreeSet::from([module.clone()]))
        };
        self.of
            .keys()
            .map(|module| self.chain(&group(module), &group, &mut lengths))
            .max()
            .unwrap_or(0)
    }

    fn chain(
        &self,
        from: &BTreeSet<String>,
        group: &impl Fn(&String) -> BTreeSet<String>,
        lengths: &mut BTreeMap<BTreeSet<String>, usize>,
    ) -> usize {
        if let Some(length) = lengths.get(from) {
            return *length;
        }
        let next: BTreeSet<BTreeSet<String>> = from
            .iter()
            .flat_map(|module| &self.of[module])
            .map(group)
            .filter(|to| to != from)
            .collect();
        let length = 1 + next.iter().map(|to| self.chain(to, group, lengths)).max().unwrap_or(0);
        lengths.insert(from.clone(), length);
        length
    }

    /// All files that `module` imports, directly or through others.
    fn reached(&self, module: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut open = vec![module.to_string()];
        while let Some(next) = open.pop() {
            for other in self.of.get(&next).into_iter().flatten() {
                if reached.insert(other.clone()) {
                    open.push(other.clone());
                }
            }
        }
        reached
    }
}

/// `link/task.rs` is the module `link::task`, `link/mod.rs` is `link`, `lib.rs` is the root.
fn module(file: &str) -> String {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { String::new() } else { path.replace('/', "::") }
}

/// The module whose file `path` leads into: the longest beginning of it that is a file.
fn file_of(path: &[String], modules: &BTreeMap<String, &str>) -> Option<String> {
    let beginnings = (1..=path.len()).rev().map(|len| path[..len].join("::"));
    beginnings.into_iter().find(|module| modules.contains_key(module))
}

/// What the root re-exports: each name with the module that has it.
fn exports(paths: &[Vec<String>], modules: &BTreeMap<String, &str>) -> BTreeMap<String, String> {
    let named =
        paths.iter().filter_map(|path| Some((path.last()?.clone(), file_of(path, modules)?)));
    named.collect()
}

/// Every path of `text`, the file of `module`, that stays in the crate, from the crate's root. The
/// root itself may write `base::x` for `crate::base::x` in its `use`s.
fn paths(text: &str, module: &str) -> Vec<Vec<String>> {
    let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{module}: {error}"));
    let own: Vec<String> =
        module.split("::").filter(|part| !part.is_empty()).map(String::from).collect();
    let mut found = Vec::new();
    scan(tokens, &own, &mut found);
    found
}

/// `own` is the module that the tokens are in; at the crate's root it is empty.
fn scan(tokens: TokenStream, own: &[String], found: &mut Vec<Vec<String>>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at + 1..];
        if is_cfg_test(&tokens[at..]) {
            at += 2 + item_len(&tokens[at + 2..]);
            continue;
        }
        match (word_at(&tokens, at).as_deref(), rest) {
            (Some("mod"), [TokenTree::Ident(name), TokenTree::Group(body), ..]) => {
                scan(body.stream(), &[own, &[name.to_string()]].concat(), found);
                at += 3;
                continue;
            }
            (Some("use"), [TokenTree::Ident(_), ..]) if own.is_empty() => {
                branch(Vec::new(), rest, found);
            }
            (Some("crate"), rest) if is_path(rest) => follow(Vec::new(), rest, found),
            (Some("super"), rest) if is_path(rest) => follow(parent(own), rest, found),
            _ => {}
        }
        if let TokenTree::Group(group) = &tokens[at] {
            scan(group.stream(), own, found);
        }
        at += 1;
    }
}

/// Adds the paths that begin with `base` and end or continue with `rest`.
fn follow(base: Vec<String>, rest: &[TokenTree], found: &mut Vec<Vec<String>>) {
    if is_path(rest) { branch(base, &rest[2..], found) } else { found.push(base) }
}

/// Adds the paths that continue `base` with `rest`: a name, or a tree of names in braces.
fn branch(base: Vec<String>, rest: &[TokenTree], found: &mut Vec<Vec<String>>) {
    match rest.first() {
        Some(TokenTree::Ident(word)) => match word.to_string().as_str() {
            "self" | "crate" => follow(base, &rest[1..], found),
            "super" => follow(parent(&base), &rest[1..], found),
            name => follow([base, vec![name.into()]].concat(), &rest[1..], found),
        },
        Some(TokenTree::Group(tree)) if tree.delimiter() == Delimiter::Brace => {
            let tokens: Vec<TokenTree> = tree.stream().into_iter().collect();
            let branches = tokens.split(|token| is_punct(token, ','));
            for rest in branches.filter(|branch| !branch.is_empty()) {
                branch(base.clone(), rest, found);
            }
        }
        _ => found.push(base),
    }
}

fn parent(module: &[String]) -> Vec<String> {
    module[..module.len().saturating_sub(1)].to_vec()
}

/// Whether `::` comes next.
fn is_path(rest: &[TokenTree]) -> bool {
    matches!(rest, [one, other, ..] if is_punct(one, ':') && is_punct(other, ':'))
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn word_at(tokens: &[TokenTree], at: usize) -> Option<String> {
    match tokens.get(at) {
        Some(TokenTree::Ident(word)) => Some(word.to_string()),
        _ => None,
    }
}

fn is_cfg_test(tokens: &[TokenTree]) -> bool {
    let [TokenTree::Punct(sign), TokenTree::Group(group), ..] = tokens else { return false };
    sign.as_char() == '#' && group.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// Tokens up to the end of the item: its block in braces, or its semicolon.
fn item_len(tokens: &[TokenTree]) -> usize {
    let is_block = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
    let ends = |token: &TokenTree| is_block(token) || is_punct(token, ';');
    tokens.iter().position(ends).map_or(tokens.len(), |at| at + 1)
}

#[cfg(test)]
fn imports(files: &[(&str, &str)]) -> Imports {
    let owned: Vec<_> =
        files.iter().map(|(file, text)| (file.to_string(), text.to_string())).collect();
    Imports::parse(&owned)
}

#[test]
fn an_import_that_runs_up_is_seen_in_every_form() {
    let root = ("lib.rs", "mod base; mod call; pub use call::client::{Client, Reply};");
    let client = ("call/client.rs", "use crate::base::sync::lock;");
    for (what, text) in [
        ("a use", "use crate::call::client::Client;"),
        ("a use of the module", "use crate::call::client;"),
        ("a tree", "use crate::{base::limits, call::client::{self, Client}};"),
        ("a path in code", "fn f() -> u8 { let x: crate::call::client::Client = g(); 0 }"),
        ("a name that the root re-exports", "fn f(x: crate::Reply) {}"),
        ("a relative path", "use super::super::call::client::Client;"),
    ] {
        let found = imports(&[root, ("base/sync.rs", text), client]);
        let expected = ["base::sync imports call::client, which is above it"];
        assert_eq!(found.upward(), expected, "{what}");
        assert_eq!(found.circles().len(), 1, "{what}: the two import each other");
    }
    for (what, text) in [
        ("documentation", "/// See [`Client`](crate::Client).\nfn f() {}"),
        ("a test", "#[cfg(test)]\nmod tests { use crate::call::client::Client; }"),
        ("its own layer", "use super::limits::MAX; use crate::base::limits;"),
        ("another crate", "use chinwag_core::call::client::Client;"),
    ] {
        let limits = ("base/limits.rs", "");
        let found = imports(&[root, ("base/sync.rs", text), client, limits]);
        assert_eq!(found.upward(), [""; 0], "{what}");
        assert!(found.circles().is_empty(), "{what}");
    }
    let stray = imports(&[root, ("stray.rs", "")]).upward();
    assert!(stray[0].starts_with("stray is in none of the layers"), "{stray:?}");
}

#[test]
fn circles_and_chains_are_counted() {
    let found = imports(&[
        ("lib.rs", ""),
        ("base/a.rs", ""),
        ("base/b.rs", "use crate::base::a::A;"),
        ("link/c.rs", "use crate::base::b::B; use super::d::D;"),
        ("link/d.rs", "use super::e::E;"),
        ("link/e.rs", "use super::c::C;"),
        ("node/f.rs", "use crate::link::d::D;"),
    ]);
    let circle = BTreeSet::from(["link::c", "link::d", "link::e"].map(String::from));
    assert_eq!(found.circles(), [circle]);
    assert_eq!(found.longest_chain(), 4, "f, the circle, b, a");
    assert_eq!(found.len(), 6);
}
