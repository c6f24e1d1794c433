//! Directives, anchors, aliases and tags.

use super::{Mark, Scan, Scanner, TokenKind, is_blank, is_blank_or_end, is_word};

impl Scanner {
    pub(super) fn scan_directive(&mut self) -> Scan<TokenKind> {
        let start = self.mark;
        self.skip();
        let name = self.scan_word()?;
        if name.is_empty() {
            return Err(self.problem("could not find expected directive name", start));
        }
        if !is_blank_or_end(self.at(0)) {
            return Err(self.problem("found unexpected non-alphabetical character", start));
        }
        let kind = match name.as_str() {
            "YAML" => self.scan_version(start)?,
            "TAG" => self.scan_tag_directive(start)?,
            _ => return Err(self.problem("found unknown directive name", start)),
        };
        self.finish_line(start)?;
        Ok(kind)
    }

    fn scan_version(&mut self, start: Mark) -> Scan<TokenKind> {
        self.skip_blanks()?;
        let major = self.scan_version_number(start)?;
        if self.at(0) != '.' {
            return Err(self.problem("did not find expected digit or '.' character", start));
        }
        self.skip();
        Ok(TokenKind::VersionDirective { major, minor: self.scan_version_number(start)? })
    }

    fn scan_version_number(&mut self, start: Mark) -> Scan<u8> {
        self.need(1)?;
        let mut number = None;
        while let Some(digit) = self.at(0).to_digit(10) {
            match number {
                Some(10..) => return Err(self.problem("found extremely long version number", start)),
                _ => number = Some(number.unwrap_or(0) * 10 + digit as u8),
            }
            self.skip();
            self.need(1)?;
        }
        number.ok_or_else(|| self.problem("did not find expected version number", start))
    }

    fn scan_tag_directive(&mut self, start: Mark) -> Scan<TokenKind> {
        self.skip_blanks()?;
        let handle = self.scan_tag_handle(start)?;
        if handle != "!" && (handle.len() < 2 || !handle.ends_with('!')) {
            return Err(self.problem("did not find expected '!'", start));
        }
        self.need(1)?;
        if !is_blank(self.at(0)) {
            return Err(self.problem("did not find expected whitespace", start));
        }
        self.skip_blanks()?;
        let prefix = self.scan_tag_uri("", start)?;
        self.need(1)?;
        if !is_blank_or_end(self.at(0)) {
            return Err(self.problem("did not find expected whitespace or line break", start));
        }
        Ok(TokenKind::TagDirective { handle, prefix })
    }

    pub(super) fn scan_alias(&mut self) -> Scan<TokenKind> {
        self.scan_anchor_name().map(TokenKind::Alias)
    }

    pub(super) fn scan_anchor(&mut self) -> Scan<TokenKind> {
        self.scan_anchor_name().map(TokenKind::Anchor)
    }

    fn scan_anchor_name(&mut self) -> Scan<String> {
        let start = self.mark;
        self.skip();
        let name = self.scan_word()?;
        let next = self.at(0);
        let ends = is_blank_or_end(next) || matches!(next, '?' | ':' | ',' | ']' | '}' | '%' | '@' | '`');
        if name.is_empty() || !ends {
            return Err(self.problem("did not find expected alphabetic or numeric character", start));
        }
        Ok(name)
    }

    pub(super) fn scan_tag(&mut self) -> Scan<TokenKind> {
        let start = self.mark;
        self.need(2)?;
        let (handle, suffix) = if self.at(1) == '<' {
            self.skip();
            self.skip();
            let suffix = self.scan_tag_uri("", start)?;
            if self.at(0) != '>' {
                return Err(self.problem("did not find the expected '>'", start));
            }
            self.skip();
            (String::new(), suffix)
        } else {
            let handle = self.scan_tag_handle(start)?;
            if handle.len() > 1 && handle.ends_with('!') {
                let suffix = self.scan_tag_uri("", start)?;
                (handle, suffix)
            } else {
                // What was read is no handle, but the beginning of a local tag.
                match self.scan_tag_uri(&handle, start)? {
                    suffix if suffix.is_empty() => (suffix, "!".to_owned()),
                    suffix => ("!".to_owned(), suffix),
                }
            }
        };
        self.need(1)?;
        if !is_blank_or_end(self.at(0)) {
            return Err(self.problem("did not find expected whitespace or line break", start));
        }
        Ok(TokenKind::Tag { handle, suffix })
    }

    /// Reads `!`, `!!` or `!word!`; also `!word`, of which only `!` is the handle.
    fn scan_tag_handle(&mut self, start: Mark) -> Scan<String> {
        self.need(1)?;
        if self.at(0) != '!' {
            return Err(self.problem("did not find expected '!'", start));
        }
        let mut handle = String::new();
        self.read(&mut handle);
        handle.push_str(&self.scan_word()?);
        if self.at(0) == '!' {
            self.read(&mut handle);
        }
        Ok(handle)
    }

    /// `head` is the part of the tag that was read before, with its `!`.
    fn scan_tag_uri(&mut self, head: &str, start: Mark) -> Scan<String> {
        let mut uri = head.get(1..).unwrap_or_default().to_owned();
        let mut found = !head.is_empty();
        self.need(1)?;
        loop {
            match self.at(0) {
                '%' => self.scan_uri_escape(start, &mut uri)?,
                c if is_word(c) || ";/?:@&=+$,.!~*'()[]".contains(c) => self.read(&mut uri),
                _ => break,
            }
            self.need(1)?;
            found = true;
        }
        if found { Ok(uri) } else { Err(self.problem("did not find expected tag URI", start)) }
    }

    /// Reads one character that is written as up to four octets of the form `%41`.
    fn scan_uri_escape(&mut self, start: Mark, uri: &mut String) -> Scan<()> {
        let mut octets = Vec::new();
        let mut width = 1;
        while octets.len() < width {
            self.need(3)?;
            let digits = (self.at(1).to_digit(16), self.at(2).to_digit(16));
            let ('%', (Some(high), Some(low))) = (self.at(0), digits) else {
                return Err(self.problem("did not find URI escaped octet", start));
            };
            let octet = (high << 4 | low) as u8;
            if octets.is_empty() {
                width = match octet {
                    0x00..=0x7F => 1,
                    0xC0..=0xDF => 2,
                    0xE0..=0xEF => 3,
                    0xF0..=0xF7 => 4,
                    _ => return Err(self.problem("found an incorrect leading UTF-8 octet", start)),
                };
            } else if octet & 0xC0 != 0x80 {
                return Err(self.problem("found an incorrect trailing UTF-8 octet", start));
            }
            octets.push(octet);
            (0..3).for_each(|_| self.skip());
        }
        uri.push_str(&String::from_utf8_lossy(&octets));
        Ok(())
    }

    fn scan_word(&mut self) -> Scan<String> {
        let mut word = String::new();
        self.need(1)?;
        while is_word(self.at(0)) {
            self.read(&mut word);
            self.need(1)?;
        }
        Ok(word)
    }
}
