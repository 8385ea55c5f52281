//! Encodes a secret as programs write it: in JSON, in URLs, as base64, base32 and hexadecimal digits.
//!
//! Secrets with other escapes are found by decoding the text, see `view.rs`.

/// The alphabet of base64 (RFC 4648).
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The alphabet of base32 (RFC 4648).
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The least number of bytes of a secret that is searched for as base64 or base32.
const BASE64_BYTES_MIN: usize = 6;

/// The encoded forms of `text` that differ from `text`, each with the length of the encoded `beginning`.
pub(crate) fn forms(text: &str, beginning: &str) -> Vec<(Vec<u8>, usize)> {
    let mut forms = Vec::new();
    let encoders: [fn(&str) -> String; 8] =
        [json, ascii_json, upper_url, lower_url, form_url, shell, lower_hex, upper_hex];
    for encode in encoders {
        let encoded = encode(text);
        if encoded != text {
            forms.push((encoded.into_bytes(), encode(beginning).len()));
        }
    }
    if text.len() < BASE64_BYTES_MIN {
        return forms;
    }
    for encode in [str::to_owned, lower_hex, upper_hex] {
        add_base64(&mut forms, encode(text).as_bytes(), encode(beginning).as_bytes());
    }
    for offset in 0..5 {
        let (encoded, prefix) =
            (digits(text.as_bytes(), offset, BASE32, 5), digits(beginning.as_bytes(), offset, BASE32, 5).len());
        forms.push((encoded.to_ascii_lowercase(), prefix));
        forms.push((encoded, prefix));
    }
    forms
}

fn add_base64(forms: &mut Vec<(Vec<u8>, usize)>, bytes: &[u8], beginning: &[u8]) {
    for offset in 0..3 {
        let (encoded, prefix) = (digits(bytes, offset, BASE64, 6), digits(beginning, offset, BASE64, 6).len());
        let for_urls: Vec<u8> = encoded.iter().map(|byte| url_digit(*byte)).collect();
        if for_urls != encoded {
            forms.push((for_urls, prefix));
        }
        forms.push((encoded, prefix));
    }
}

fn json(text: &str) -> String {
    escaped(text, false)
}

fn ascii_json(text: &str) -> String {
    escaped(text, true)
}

fn escaped(text: &str, is_ascii: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if c < ' ' || (is_ascii && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => escaped.push(c),
        }
    }
    escaped
}

fn upper_url(text: &str) -> String {
    url(text, |byte| format!("%{byte:02X}"))
}

fn lower_url(text: &str) -> String {
    url(text, |byte| format!("%{byte:02x}"))
}

fn form_url(text: &str) -> String {
    url(text, |byte| if byte == b' ' { "+".to_owned() } else { format!("%{byte:02X}") })
}

fn url(text: &str, encode: impl Fn(u8) -> String) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&encode(byte));
        }
    }
    encoded
}

/// The text as a shell writes it between single quotes.
fn shell(text: &str) -> String {
    text.replace('\'', "'\\''")
}

fn lower_hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn upper_hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02X}")).collect()
}

/// The base64 or base32 digits (`width` bits each) that encode `bytes` after `offset` unknown bytes. Digits that also
/// depend on the unknown bytes are left out.
fn digits(bytes: &[u8], offset: usize, alphabet: &[u8], width: u32) -> Vec<u8> {
    let mut digits = Vec::new();
    let (mut bits, mut count): (u32, u32) = (0, 0);
    for byte in std::iter::repeat_n(&0, offset).chain(bytes) {
        bits = (bits << 8) | u32::from(*byte);
        count += 8;
        while count >= width {
            count -= width;
            let digit = usize::try_from((bits >> count) & ((1 << width) - 1)).unwrap_or(0);
            digits.extend(alphabet.get(digit));
        }
        bits &= (1 << count) - 1;
    }
    // The first digits contain bits of the unknown bytes before the text.
    let foreign = (offset * 8).div_ceil(usize::try_from(width).unwrap_or(1));
    digits.split_off(foreign.min(digits.len()))
}

const fn url_digit(digit: u8) -> u8 {
    match digit {
        b'+' => b'-',
        b'/' => b'_',
        digit => digit,
    }
}

#[cfg(test)]
mod tests;
