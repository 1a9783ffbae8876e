//! What is measured of one file, from its tokens: so strings, comments and lifetimes cannot
//! mislead, and macros' arms count as what they are written as.
//!
//! A function is the word `fn`, a name, and the next block in braces. That is wrong for a `fn`
//! whose signature holds braces (a const block in its return type); none is written so.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// One file, measured.
pub(crate) struct Source {
    pub(crate) name: String,
    /// Whether all of it is tests: under `tests/`, or a `tests.rs`.
    pub(crate) is_test: bool,
    /// Lines without those of items under `#[cfg(test)]`.
    pub(crate) lines: usize,
    /// `file::function` and its lines, tests included. Of functions of one name in one file, the
    /// longest.
    pub(crate) functions: Vec<(String, usize)>,
    /// Where something is unfinished or ignored, as complaints.
    pub(crate) unfinished: Vec<String>,
    /// Where `unsafe` is said, as complaints.
    pub(crate) unsafes: Vec<String>,
}

impl Source {
    /// Measures `text`; `name` is its path from the root of the repository, with `/`.
    pub(crate) fn parse(name: &str, text: &str) -> Self {
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut source = Self {
            name: name.into(),
            is_test: name.contains("/tests/") || name.ends_with("/tests.rs"),
            lines: text.lines().count(),
            functions: Vec::new(),
            unfinished: Vec::new(),
            unsafes: Vec::new(),
        };
        source.scan(tokens, false);
        source
    }

    /// `is_tested`: inside an item whose lines have been taken off already.
    fn scan(&mut self, tokens: TokenStream, is_tested: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut tests_end = 0;
        for (at, token) in tokens.iter().enumerate() {
            let rest = &tokens[at + 1..];
            let is_tested = is_tested || at < tests_end;
            if !is_tested && is_cfg_test(token, rest) {
                let len = item_len(rest);
                self.lines -= lines(token, rest.get(len.saturating_sub(1)).unwrap_or(token));
                tests_end = at + 1 + len;
            }
            match token {
                TokenTree::Group(group) => self.scan(group.stream(), is_tested || at < tests_end),
                TokenTree::Ident(word) => self.look_at(&word.to_string(), token, rest),
                TokenTree::Punct(_) if is_ignore(token, rest) => {
                    self.complain_unfinished(token, "#[ignore]");
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    fn look_at(&mut self, word: &str, token: &TokenTree, rest: &[TokenTree]) {
        match word {
            "fn" => self.measure_function(token, rest),
            "unsafe" => self.unsafes.push(format!("{}:{}: unsafe", self.name, line(token))),
            "todo" | "unimplemented" if matches!(rest.first(), Some(TokenTree::Punct(p)) if p.as_char() == '!') =>
            {
                self.complain_unfinished(token, word);
            }
            _ => {}
        }
    }

    fn measure_function(&mut self, token: &TokenTree, rest: &[TokenTree]) {
        let Some(TokenTree::Ident(name)) = rest.first() else { return };
        let ends = |token: &&TokenTree| brace(token).is_some() || is_punct(token, ';');
        let Some(body) = rest.iter().find(ends).filter(|token| brace(token).is_some()) else {
            return;
        };
        let (name, lines) = (format!("{}::{name}", self.name), lines(token, body));
        match self.functions.iter_mut().find(|(known, _)| *known == name) {
            Some((_, longest)) => *longest = lines.max(*longest),
            None => self.functions.push((name, lines)),
        }
    }

    fn complain_unfinished(&mut self, token: &TokenTree, what: &str) {
        self.unfinished.push(format!("{}:{}: {what}", self.name, line(token)));
    }
}

fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

fn lines(first: &TokenTree, last: &TokenTree) -> usize {
    last.span().end().line - line(first) + 1
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn group(token: &TokenTree, delimiter: Delimiter) -> Option<&Group> {
    match token {
        TokenTree::Group(group) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}

fn brace(token: &TokenTree) -> Option<&Group> {
    group(token, Delimiter::Brace)
}

/// The attribute that `#` begins, without spaces.
fn attribute(token: &TokenTree, rest: &[TokenTree]) -> Option<String> {
    let attribute = rest.first().filter(|_| is_punct(token, '#'))?;
    Some(group(attribute, Delimiter::Bracket)?.stream().to_string().replace(' ', ""))
}

fn is_cfg_test(token: &TokenTree, rest: &[TokenTree]) -> bool {
    attribute(token, rest).is_some_and(|attribute| attribute == "cfg(test)")
}

fn is_ignore(token: &TokenTree, rest: &[TokenTree]) -> bool {
    let Some(attribute) = attribute(token, rest) else { return false };
    let is_conditional = attribute.starts_with("cfg_attr(") && attribute.contains(",ignore");
    attribute == "ignore" || attribute.starts_with("ignore=") || is_conditional
}

/// Tokens up to the end of the item: its block in braces, or its semicolon.
fn item_len(tokens: &[TokenTree]) -> usize {
    tokens
        .iter()
        .position(|token| brace(token).is_some() || is_punct(token, ';'))
        .map_or(tokens.len(), |at| at + 1)
}

#[test]
fn lines_of_tests_do_not_count() {
    let text = "fn a() {\n}\n#[cfg(test)]\nmod tests {\n  fn b() {\n  }\n}\n#[cfg(test)]\nmod more;\nstruct S;\n";
    let source = Source::parse("x.rs", text);
    assert_eq!(source.lines, 10 - 5 - 2);
    assert_eq!(source.functions, [("x.rs::a".into(), 2), ("x.rs::b".into(), 2)]);
    assert!(
        !source.is_test
            && Source::parse("a/tests/b.rs", "").is_test
            && Source::parse("a/tests.rs", "").is_test
    );
}

#[test]
fn functions_are_found_wherever_they_stand() {
    let text = "trait T { fn no_body(&self); fn body(&self) -> [u8; 2]\n  where Self: Sized,\n  { let f: fn(u8) = |_| {}; \"}\"; [0;\n 2] } }
        impl S { fn new<'a>() { mod m { fn inner() {\n\n} } } } fn inner() {}";
    let lines: Vec<_> = Source::parse("x", text).functions;
    let expected = [("x::body", 4), ("x::new", 3), ("x::inner", 3)];
    assert_eq!(lines, expected.map(|(name, lines)| (name.to_string(), lines)));
}

#[test]
fn the_unfinished_the_ignored_and_the_unsafe_are_seen() {
    let text = "#[test]\n#[ignore]\nfn a() { assert!(todo!()) }\n#[ignore = \"slow\"]\nfn b() { unimplemented!() }
        #[cfg_attr(miri, ignore)] fn c() { unsafe {} } // todo!() unsafe\nconst S: &str = \"#[ignore] todo!() unsafe\";
        fn ignore(todo: u8) { let ignore = todo; }";
    let source = Source::parse("x", text);
    let unfinished =
        ["x:3: todo", "x:5: unimplemented", "x:2: #[ignore]", "x:4: #[ignore]", "x:6: #[ignore]"];
    let (mut found, mut expected) = (source.unfinished, unfinished.map(String::from).to_vec());
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(source.unsafes, ["x:6: unsafe"]);
}
