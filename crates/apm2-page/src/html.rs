//! The HTML text of the page.

use crate::{
    assets::{SCRIPT, STYLE, TEMPLATE},
    csp,
    document::Document,
};

/// The page as one file, with its data.
///
/// # Errors
/// The document cannot be written as JSON.
pub fn file(document: &Document) -> Result<String, serde_json::Error> {
    Ok(page(&csp::of_file(), &embedded(&serde_json::to_string(document)?)))
}

/// The page of a server, which fetches `document.json` and the events from `events`.
#[must_use]
pub fn live_page() -> String {
    page(&csp::of_live_page(), "")
}

/// Fills the places of the template. The parts themselves are not searched for places.
fn page(policy: &str, data: &str) -> String {
    let mut text = String::with_capacity(TEMPLATE.len() + STYLE.len() + SCRIPT.len() + policy.len() + data.len());
    let mut rest = TEMPLATE;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let (place, after) = after.split_once("}}").unwrap_or((after, ""));
        text.push_str(match place {
            "policy" => policy,
            "style" => STYLE,
            "script" => SCRIPT,
            "data" => data,
            _ => "",
        });
        rest = after;
    }
    text.push_str(rest);
    text
}

/// JSON that can be the content of a `script` element: no character in it can end the element or begin a comment. These characters
/// occur in strings of JSON only, where they can be written as escape sequences.
fn embedded(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            _ => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
        text.split_once(start).unwrap().1.split_once(end).unwrap().0
    }

    const DATA: &str = "<script type=\"application/json\" id=\"data\">";

    proptest! {
        #[test]
        fn embedded_json_has_the_same_value_and_cannot_end_its_element(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let embedded = embedded(&json);
            prop_assert_eq!(serde_json::from_str::<String>(&embedded).unwrap(), text);
            let forbidden = ['<', '>', '&', '\u{2028}', '\u{2029}'];
            prop_assert!(!embedded.contains(forbidden));
        }
    }

    #[test]
    fn hostile_text_stays_data() {
        let hostile = "</script><script>alert(1)</script><!--<script>{{script}}{{style}}]]>&lt;\u{2028}";
        let document = Document { notices: vec![hostile.to_owned()], ..Document::default() };
        let page = file(&document).unwrap();
        let data = between(&page, DATA, "</script>");
        let value: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(value["notices"][0], hostile);
        assert_eq!(page.matches("<script").count(), 2 + SCRIPT.matches("<script").count());
    }

    #[test]
    fn the_policy_has_the_hashes_of_what_the_page_contains() {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        use sha2::{Digest as _, Sha256};
        for page in [file(&Document::default()).unwrap(), live_page()] {
            let policy = between(&page, "http-equiv=\"Content-Security-Policy\" content=\"", "\"");
            for content in [between(&page, "<style>", "</style>"), between(&page, "<script>", "</script>")] {
                let hash = STANDARD.encode(Sha256::digest(content));
                assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy}");
            }
        }
    }

    #[test]
    fn the_live_page_has_no_data() {
        assert_eq!(between(&live_page(), DATA, "</script>"), "");
    }
}
