//! CSV by RFC 4180: comma, quote, rows end with a line feed. Cells are written into room that is there already.
//!
//! What is not certain (NUL, text that is not UTF-8) is refused: the row goes to the exact engine.

/// Whether a byte needs a second look: a comma, a quote, a line break, NUL, or no ASCII.
#[inline(always)]
fn is_odd(byte: u8) -> bool {
    (byte == b',')
        | (byte == b'"')
        | (byte == b'\n')
        | (byte == b'\r')
        | (byte == 0)
        | (byte >= 0x80)
}

/// The same for a block; compiles to a few vector instructions.
#[inline(always)]
fn odd_block(block: &[u8; 16]) -> bool {
    block
        .iter()
        .fold(false, |found, byte| found | is_odd(*byte))
}

/// The same for eight bytes in a word; not zero where one is odd.
#[inline(always)]
fn odd_word(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // A byte below 0x80 that is `byte`: a borrow from below cannot hide one, as words with bytes from 0x80 on are odd.
    let is = |byte: u8| {
        let other = word ^ (ONES * u64::from(byte));
        other.wrapping_sub(ONES) & !other
    };
    (is(b',') | is(b'"') | is(b'\n') | is(b'\r') | is(0) | word) & (ONES << 7)
}

/// Whether this is UTF-8.
pub fn is_text(text: &[u8]) -> bool {
    text.is_ascii() || simdutf8::basic::from_utf8(text).is_ok()
}

#[inline(always)]
pub fn put<const N: usize>(buf: &mut [u8], at: usize, bytes: &[u8; N]) -> usize {
    buf[at..at + N].copy_from_slice(bytes);
    at + N
}

#[inline(always)]
pub fn put_all(buf: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    buf[at..at + bytes.len()].copy_from_slice(bytes);
    at + bytes.len()
}

/// A text cell from `start` on, quoted where it must be; its end, or None where it has a NUL or is not UTF-8.
/// Blocks overlap at the end of a text, so that short ones need no loop.
#[inline(always)]
pub fn text(buf: &mut [u8], start: usize, text: &[u8]) -> Option<usize> {
    let length = text.len();
    let end = start + length;
    let mut found;
    if let Some(last) = text.last_chunk::<16>() {
        found = odd_block(last);
        let mut at = start;
        for block in text[..length - 1].as_chunks::<16>().0 {
            found |= odd_block(block);
            at = put(buf, at, block);
        }
        put(buf, end - 16, last);
    } else if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        found = odd_word(u64::from_le_bytes(*first)) | odd_word(u64::from_le_bytes(*last)) != 0;
        put(buf, start, first);
        put(buf, end - 8, last);
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let both =
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
        found = odd_word(both) != 0;
        put(buf, start, first);
        put(buf, end - 4, last);
    } else {
        found = length == 0;
        for (turn, byte) in text.iter().enumerate() {
            found |= is_odd(*byte);
            buf[start + turn] = *byte;
        }
    }
    if found {
        odd_text(buf, start, text)
    } else {
        Some(end)
    }
}

#[inline(never)]
fn odd_text(buf: &mut [u8], start: usize, text: &[u8]) -> Option<usize> {
    let (mut quoted, mut nul) = (false, false);
    for byte in text {
        quoted |= matches!(byte, b',' | b'"' | b'\n' | b'\r');
        nul |= *byte == 0;
    }
    if nul || !is_text(text) {
        return None;
    }
    if !quoted && !text.is_empty() {
        return Some(put_all(buf, start, text));
    }
    let mut at = put(buf, start, b"\"");
    for part in text.split_inclusive(|byte| *byte == b'"') {
        at = put_all(buf, at, part);
        if part.ends_with(b"\"") {
            at = put(buf, at, b"\"");
        }
    }
    Some(put(buf, at, b"\""))
}

/// ASCII that needs no quotes.
#[inline(always)]
pub fn plain(buf: &mut [u8], start: usize, text: &[u8]) -> usize {
    let length = text.len();
    let end = start + length;
    if let (Some(first), Some(last)) = (text.first_chunk::<16>(), text.last_chunk::<16>()) {
        if length <= 32 {
            put(buf, start, first);
            return put(buf, end - 16, last);
        }
    } else if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        put(buf, start, first);
        return put(buf, end - 8, last);
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        put(buf, start, first);
        return put(buf, end - 4, last);
    }
    put_all(buf, start, text)
}
