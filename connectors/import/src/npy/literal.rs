//! Python literals, as far as the headers of `.npy` members use them.

/// Upper bound on the depth of records within records.
pub(crate) const RECORD_DEPTH_MAX: usize = 16;

/// A value in a header.
#[derive(Debug, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Int(u64),
    Bool(bool),
    /// A list or a tuple.
    List(Vec<Literal>),
    Dict(Vec<(String, Literal)>),
}

/// A parser of Python literals.
pub(super) struct LiteralParser<'a> {
    rest: &'a str,
}

impl<'a> LiteralParser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// Reads a literal at a depth of nesting, 0 for the outermost.
    pub(super) fn literal(&mut self, depth: usize) -> Result<Literal, String> {
        if depth > 2 * RECORD_DEPTH_MAX {
            return Err("its header is nested too deeply".to_owned());
        }
        match self.peek() {
            Some('{') => self.dict(depth),
            Some('[' | '(') => self.list(depth),
            Some('\'' | '"') => self.text().map(Literal::Text),
            Some('0'..='9') => self.int(),
            _ if self.skip("True") => Ok(Literal::Bool(true)),
            _ if self.skip("False") => Ok(Literal::Bool(false)),
            _ => Err("its header is not a Python literal".to_owned()),
        }
    }

    /// Skips blanks and returns the next character.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    /// Skips `token` if it comes next.
    fn skip(&mut self, token: &str) -> bool {
        self.peek();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Literal, String> {
        let mut entries = Vec::new();
        self.skip("{");
        while !self.skip("}") {
            let key = self.text()?;
            if !self.skip(":") {
                return Err("a colon is missing in its header".to_owned());
            }
            entries.push((key, self.literal(depth + 1)?));
            self.comma("}")?;
        }
        Ok(Literal::Dict(entries))
    }

    fn list(&mut self, depth: usize) -> Result<Literal, String> {
        let close = if self.skip("[") {
            "]"
        } else {
            self.skip("(");
            ")"
        };
        let mut items = Vec::new();
        while !self.skip(close) {
            items.push(self.literal(depth + 1)?);
            self.comma(close)?;
        }
        Ok(Literal::List(items))
    }

    /// Skips a comma, unless `close` comes next.
    fn comma(&mut self, close: &str) -> Result<(), String> {
        if self.skip(",") || self.rest.starts_with(close) {
            Ok(())
        } else {
            Err("a comma is missing in its header".to_owned())
        }
    }

    /// Reads text in quotes. Only quotes and backslashes are escaped in names.
    fn text(&mut self) -> Result<String, String> {
        let unfinished = || "its header has text without a closing quote".to_owned();
        let quote = self.peek().ok_or_else(unfinished)?;
        if !matches!(quote, '\'' | '"') {
            return Err("its header has a name without quotes".to_owned());
        }
        let (mut text, mut escaped) = (String::new(), false);
        for (at, character) in self.rest.char_indices().skip(1) {
            match character {
                _ if escaped => {
                    text.push(character);
                    escaped = false;
                }
                '\\' => escaped = true,
                other if other == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                other => text.push(other),
            }
        }
        Err(unfinished())
    }

    /// Reads a whole number. Python 2 wrote an L after it.
    fn int(&mut self) -> Result<Literal, String> {
        let len = self.rest.find(|digit: char| !digit.is_ascii_digit());
        let (digits, rest) = self.rest.split_at(len.unwrap_or(self.rest.len()));
        self.rest = rest.strip_prefix('L').unwrap_or(rest);
        let int = digits.parse();
        int.map(Literal::Int)
            .map_err(|_| "its header has a number that is too large".to_owned())
    }
}
