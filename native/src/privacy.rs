//! Privacy by column, after the filters and the day: what becomes of one cell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};

const BLOCK: usize = 64;
const HASH_BYTES: usize = 16;

/// What becomes of the cells of a column.
#[derive(Clone, Copy, PartialEq)]
pub enum Method {
    Drop,
    Hash,
    TruncateIp,
}

impl Method {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "drop" => Method::Drop,
            "hash" => Method::Hash,
            "truncate_ip" => Method::TruncateIp,
            _ => return None,
        })
    }
}

/// HMAC-SHA-256 (RFC 2104) under one key, whose two first blocks are done once.
pub struct Key {
    name: Vec<u8>,
    inner: Sha256,
    outer: Sha256,
}

impl Key {
    pub fn new(name: &str, key: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        if key.len() > BLOCK {
            block[..32].copy_from_slice(&Sha256::digest(key));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        Key {
            name: [name.as_bytes(), b":"].concat(),
            inner: Sha256::new_with_prefix(block.map(|byte| byte ^ 0x36)),
            outer: Sha256::new_with_prefix(block.map(|byte| byte ^ 0x5C)),
        }
    }

    /// Bytes that a hash has at most.
    pub fn longest(&self) -> usize {
        self.name.len() + 2 * HASH_BYTES
    }

    /// The cell as its hash. Nobody's ids (only `0` and `-`, or nothing) stay, and what is a hash under this key.
    pub fn hash(&self, cell: &mut Vec<u8>) {
        if cell.iter().all(|byte| matches!(byte, b'0' | b'-')) || self.is_hash(cell) {
            return;
        }
        let inner = self.inner.clone().chain_update(&cell[..]).finalize();
        let digest = self.outer.clone().chain_update(inner).finalize();
        cell.clear();
        cell.extend_from_slice(&self.name);
        for byte in &digest[..HASH_BYTES] {
            cell.extend(
                [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]),
            );
        }
    }

    fn is_hash(&self, cell: &[u8]) -> bool {
        cell.strip_prefix(&self.name[..]).is_some_and(|digits| {
            digits.len() == 2 * HASH_BYTES
                && digits
                    .iter()
                    .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        })
    }
}

/// An address as its network: IPv4 /24, IPv6 /48, v4-mapped as IPv4. None: the exact engine says what it is.
pub fn truncate_ip(cell: &mut Vec<u8>) -> Option<()> {
    let address: IpAddr = std::str::from_utf8(cell).ok()?.parse().ok()?;
    let text = match address {
        IpAddr::V4(address) => network(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => network(address),
            None => {
                let [a, b, c, ..] = address.segments();
                Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_string()
            }
        },
    };
    cell.clear();
    cell.extend_from_slice(text.as_bytes());
    Some(())
}

fn network(address: Ipv4Addr) -> String {
    let [a, b, c, _] = address.octets();
    Ipv4Addr::new(a, b, c, 0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_rfc_4231() {
        let key = Key::new("k", &[0x0b; 20]);
        let mut cell = b"Hi There".to_vec();
        key.hash(&mut cell);
        assert_eq!(cell, b"k:b0344c61d8db38535ca8afceaf0bf12b");
        key.hash(&mut cell);
        assert_eq!(cell, b"k:b0344c61d8db38535ca8afceaf0bf12b");
        let mut nobody = b"0000-00".to_vec();
        key.hash(&mut nobody);
        assert_eq!(nobody, b"0000-00");
    }

    #[test]
    fn networks() {
        for (address, expected) in [
            ("203.0.113.77", "203.0.113.0"),
            ("2001:db8:1:2::3", "2001:db8:1::"),
            ("::ffff:203.0.113.77", "203.0.113.0"),
            ("::1", "::"),
        ] {
            let mut cell = address.as_bytes().to_vec();
            assert_eq!(truncate_ip(&mut cell), Some(()));
            assert_eq!(cell, expected.as_bytes());
        }
        assert_eq!(truncate_ip(&mut b"fe80::1%eth0".to_vec()), None);
    }
}
