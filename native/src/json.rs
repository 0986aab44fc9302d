//! JSON objects to slots, in one pass. Strict: what is no plain JSON, or what a column does not take as it is, is left.
//!
//! A parser of its own, because a cell needs what readers made for values do not tell: how a number was written, and
//! whether a text had escapes. The whole record is known to be UTF-8 before it is looked at.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::cells::Slot;
use crate::json_text::{self, Members};
use crate::values::{self, Kind};

/// Levels that are followed; deeper ones, which the exact engine takes up to its own bound, are left.
const DEEPEST: usize = 64;
/// Unknown names that are counted of one record, and the characters that are kept of each.
pub const MOST_NAMES: usize = 100;
pub const LONGEST_NAME: usize = 100;
/// An input name: the column that it fills (None: it is known, and nobody's), how, and its rank among the column's names.
pub struct Input {
    pub name: Vec<u8>,
    pub column: Option<usize>,
    pub kind: Kind,
    pub rank: u8,
}

/// FNV-1a: names are looked up, never put in by producers.
#[derive(Clone, Default)]
struct Names(u64);

impl Hasher for Names {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// The names that are known.
pub struct Object {
    inputs: Vec<Input>,
    /// Each name as it stands in a record, quotes and colon with it; None where it cannot stand without escapes.
    heads: Vec<Option<Vec<u8>>>,
    by_name: HashMap<Vec<u8>, usize, BuildHasherDefault<Names>>,
    /// A column's text where a record has none of its inputs, which are told by their places.
    defaults: Vec<(usize, Vec<u8>, Vec<usize>)>,
    /// Bytes that defaults take in a row at most.
    pub more: usize,
}

impl Object {
    pub fn new(inputs: Vec<Input>, defaults: Vec<(usize, Vec<u8>)>) -> Self {
        let more = defaults.iter().map(|(_, text)| text.len()).sum();
        let defaults = defaults
            .into_iter()
            .map(|(column, text)| {
                let having = |input: &Input| input.column == Some(column);
                let places = inputs.iter().enumerate().filter(|one| having(one.1));
                (column, text, places.map(|(at, _)| at).collect())
            })
            .collect();
        let by_name = inputs
            .iter()
            .enumerate()
            .map(|(at, input)| (input.name.clone(), at))
            .collect();
        let heads = inputs.iter().map(|input| head(&input.name)).collect();
        Object {
            inputs,
            heads,
            by_name,
            defaults,
            more,
        }
    }

    pub fn memory(&self, slots: usize) -> Memory {
        Memory {
            next: vec![0; self.inputs.len() + 1],
            seen: vec![0; self.inputs.len()],
            row: 0,
            ranks: vec![0; slots],
            unknown: Vec::new(),
            members: Members::default(),
        }
    }
}

/// What is remembered from row to row: which name followed which, and when each was last seen.
pub struct Memory {
    next: Vec<usize>,
    seen: Vec<u64>,
    row: u64,
    ranks: Vec<u8>,
    /// The row's names that are nobody's, each once.
    pub unknown: Vec<Vec<u8>>,
    members: Members,
}

/// The object's values in the slots of their columns; None unless all of it is certain.
#[inline]
pub fn decode<'a>(
    object: &'a Object,
    body: &'a [u8],
    slots: &mut [Slot<'a>],
    memory: &mut Memory,
    kept: &mut Vec<u8>,
) -> Option<()> {
    simdutf8::basic::from_utf8(body).ok()?;
    kept.clear();
    memory.unknown.clear();
    memory.row += 1;
    slots.fill(Slot::Null);
    let mut text = Text { data: body, at: 0 };
    text.skip_space();
    text.expect(b'{')?;
    let mut before = object.inputs.len();
    let mut more = text.first(b'}');
    while more {
        let guess = memory.next[before];
        let found = match object.heads.get(guess) {
            Some(Some(head)) if text.word(head).is_some() => Some(guess),
            _ => {
                let from = kept.len();
                let name = text.string(kept)?;
                text.skip_space();
                text.expect(b':')?;
                let bytes = name.text(kept)?;
                let found = object.by_name.get(bytes).copied();
                let unknown = &mut memory.unknown;
                if found.is_none()
                    && unknown.len() < MOST_NAMES
                    && !unknown.iter().any(|one| one == bytes)
                {
                    unknown.push(bytes.to_vec());
                }
                kept.truncate(from);
                found
            }
        };
        text.skip_space();
        let Some(at) = found else {
            text.skip(kept, DEEPEST)?;
            more = text.another(b'}')?;
            continue;
        };
        memory.next[before] = at;
        before = at;
        if memory.seen[at] == memory.row {
            return None; // a name twice: the last one counts
        }
        memory.seen[at] = memory.row;
        let input = &object.inputs[at];
        if let Some(column) = input.column {
            let slot = text.cell(input.kind, kept, &mut memory.members)?;
            if !matches!(slot, Slot::Null)
                && (matches!(slots[column], Slot::Null) || input.rank < memory.ranks[column])
            {
                slots[column] = slot;
                memory.ranks[column] = input.rank;
            }
        } else {
            text.skip(kept, DEEPEST)?;
        }
        more = text.another(b'}')?;
    }
    for (column, text, inputs) in &object.defaults {
        if inputs.iter().all(|at| memory.seen[*at] != memory.row) {
            slots[*column] = Slot::Text(text);
        }
    }
    text.skip_space();
    (text.at == body.len()).then_some(())
}

struct Text<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Text<'a> {
    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.data.get(self.at).copied()
    }

    #[inline(always)]
    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Behind an opening bracket: whether there is a member, at which it stands then; or the bracket is closed.
    #[inline(always)]
    fn first(&mut self, close: u8) -> bool {
        self.skip_space();
        if self.peek() == Some(close) {
            self.at += 1;
            return false;
        }
        true
    }

    /// Behind a member: whether there is another one, at which it stands then; or the bracket is closed.
    #[inline(always)]
    fn another(&mut self, close: u8) -> Option<bool> {
        self.skip_space();
        let byte = self.peek()?;
        self.at += 1;
        if byte == close {
            return Some(false);
        }
        if byte != b',' {
            return None;
        }
        self.skip_space();
        Some(true)
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let end = self.at + word.len();
        (self.data.get(self.at..end)? == word).then(|| self.at = end)
    }

    /// A text: a part of the record, or of `kept` where it has escapes.
    #[inline]
    fn string(&mut self, kept: &mut Vec<u8>) -> Option<Slot<'a>> {
        self.expect(b'"')?;
        let from = self.at;
        self.at = special(self.data, from)?;
        if self.data[self.at] == b'"' {
            self.at += 1;
            return Some(Slot::Text(&self.data[from..self.at - 1]));
        }
        let start = kept.len();
        kept.extend_from_slice(&self.data[from..self.at]);
        self.escaped(kept)?;
        Some(Slot::Kept(
            u32::try_from(start).ok()?,
            u32::try_from(kept.len()).ok()?,
        ))
    }

    /// The rest of a text, from an escape on.
    #[inline(never)]
    fn escaped(&mut self, kept: &mut Vec<u8>) -> Option<()> {
        loop {
            match self.data[self.at] {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.escape(kept)?,
                _ => return None, // a control character
            }
            let end = special(self.data, self.at)?;
            kept.extend_from_slice(&self.data[self.at..end]);
            self.at = end;
        }
    }

    fn escape(&mut self, kept: &mut Vec<u8>) -> Option<()> {
        let byte = *self.data.get(self.at + 1)?;
        self.at += 2;
        kept.push(match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = self.hex()?;
                if (0xD800..0xDC00).contains(&code) {
                    self.word(b"\\u")?;
                    let low = self.hex()?.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
                    code = 0x10000 + ((code - 0xD800) << 10) + low;
                }
                let letter = char::from_u32(code)?; // a lone surrogate is mended, and counted, elsewhere
                kept.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                return Some(());
            }
            _ => return None,
        });
        Some(())
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.data.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |sum, byte| {
            Some(sum * 16 + char::from(*byte).to_digit(16)?)
        })
    }

    /// A number's text, and whether it is an integer.
    #[inline]
    fn number(&mut self) -> Option<(&'a [u8], bool)> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.digits()?;
        if whole > 1 && self.data[self.at - whole] == b'0' {
            return None;
        }
        let mut integer = true;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
            integer = false;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
            integer = false;
        }
        Some((&self.data[from..self.at], integer))
    }

    fn digits(&mut self) -> Option<usize> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then(|| self.at - from)
    }

    /// A value as the column takes it.
    #[inline]
    fn cell(&mut self, kind: Kind, kept: &mut Vec<u8>, members: &mut Members) -> Option<Slot<'a>> {
        match self.peek()? {
            b'"' => {
                let from = kept.len();
                let slot = self.string(kept)?;
                if kind.takes_all() {
                    return Some(slot);
                }
                let found = values::from_text(kind, slot, slot.text(kept)?);
                if !matches!(found, Some(Slot::Kept(..))) {
                    kept.truncate(from);
                }
                found
            }
            b'n' => self.word(b"null").map(|()| Slot::Null),
            b't' if takes_boolean(kind) => self.word(b"true").map(|()| Slot::Bool(true)),
            b'f' if takes_boolean(kind) => self.word(b"false").map(|()| Slot::Bool(false)),
            b'{' | b'[' if kind.takes_parts() => {
                let from = kept.len();
                members.clear();
                self.compact(kept, members, DEEPEST)?;
                Some(Slot::Kept(
                    u32::try_from(from).ok()?,
                    u32::try_from(kept.len()).ok()?,
                ))
            }
            b'-' | b'0'..=b'9' => {
                let (text, integer) = self.number()?;
                if integer {
                    values::from_json_integer(kind, without_sign(text))
                } else {
                    values::from_json_real(kind, text)
                }
            }
            _ => None,
        }
    }

    /// Pass over a value that nobody wants; it must be right all the same.
    fn skip(&mut self, kept: &mut Vec<u8>, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match self.peek()? {
            b'"' => {
                let from = kept.len();
                self.string(kept)?;
                kept.truncate(from);
            }
            b'n' => self.word(b"null")?,
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'[' => {
                self.at += 1;
                let mut more = self.first(b']');
                while more {
                    self.skip(kept, depth)?;
                    more = self.another(b']')?;
                }
            }
            b'{' => {
                self.at += 1;
                let mut more = self.first(b'}');
                while more {
                    let from = kept.len();
                    self.string(kept)?;
                    kept.truncate(from);
                    self.skip_space();
                    self.expect(b':')?;
                    self.skip_space();
                    self.skip(kept, depth)?;
                    more = self.another(b'}')?;
                }
            }
            _ => {
                self.number()?;
            }
        }
        Some(())
    }

    /// A value as compact JSON at the end of `kept`: no white space, names in their order, nothing escaped needlessly.
    fn compact(&mut self, kept: &mut Vec<u8>, members: &mut Members, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match self.peek()? {
            b'"' => {
                self.compact_text(kept)?;
            }
            b'n' => self.compact_word(b"null", kept)?,
            b't' => self.compact_word(b"true", kept)?,
            b'f' => self.compact_word(b"false", kept)?,
            b'[' => {
                self.at += 1;
                kept.push(b'[');
                let mut more = self.first(b']');
                while more {
                    self.compact(kept, members, depth)?;
                    more = self.another(b']')?;
                    if more {
                        kept.push(b',');
                    }
                }
                kept.push(b']');
            }
            b'{' => self.compact_object(kept, members, depth)?,
            _ => {
                let (text, integer) = self.number()?;
                kept.extend_from_slice(if integer { without_sign(text) } else { text });
            }
        }
        Some(())
    }

    fn compact_word(&mut self, word: &[u8], kept: &mut Vec<u8>) -> Option<()> {
        self.word(word)?;
        kept.extend_from_slice(word);
        Some(())
    }

    fn compact_object(
        &mut self,
        kept: &mut Vec<u8>,
        members: &mut Members,
        depth: usize,
    ) -> Option<()> {
        self.at += 1;
        kept.push(b'{');
        let begin = members.begin();
        let mut more = self.first(b'}');
        while more {
            let from = kept.len();
            self.compact_text(kept)?;
            members.add(begin, from, kept)?; // a name twice: the last one counts
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            kept.push(b':');
            self.compact(kept, members, depth)?;
            more = self.another(b'}')?;
            if more {
                kept.push(b',');
            }
        }
        members.end(begin);
        kept.push(b'}');
        Some(())
    }

    fn compact_text(&mut self, kept: &mut Vec<u8>) -> Option<()> {
        let from = kept.len();
        match self.string(kept)? {
            Slot::Text(text) => {
                kept.push(b'"');
                kept.extend_from_slice(text);
                kept.push(b'"');
            }
            _ => {
                let text = kept.split_off(from);
                json_text::text(&text, kept);
            }
        }
        Some(())
    }
}

fn head(name: &[u8]) -> Option<Vec<u8>> {
    special(name, 0)
        .is_none()
        .then(|| [b"\"", name, b"\":"].concat())
}

/// The byte in each place of a word.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Where the next quote, backslash or control character stands from `at` on; None where the record ends before.
///
/// Eight bytes at a time: a byte below 1 (below 32 for control characters) borrows its highest bit. The borrow may go on
/// into the bytes behind, so that the first one found is one, which is all that is asked.
#[inline(always)]
fn special(data: &[u8], mut at: usize) -> Option<usize> {
    let below = |word: u64, bound: u8| word.wrapping_sub(each(bound)) & !word & each(0x80);
    while let Some(block) = data.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*block);
        let found = below(word ^ each(b'"'), 1) | below(word ^ each(b'\\'), 1) | below(word, 0x20);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let is = |byte: u8| (byte == b'"') | (byte == b'\\') | (byte < 0x20);
    data.get(at..)?
        .iter()
        .position(|byte| is(*byte))
        .map(|place| at + place)
}

fn takes_boolean(kind: Kind) -> bool {
    kind == Kind::Boolean || kind.takes_all()
}

/// An integer's text; zero has no sign.
fn without_sign(text: &[u8]) -> &[u8] {
    if text == b"-0" { b"0" } else { text }
}
