//! The style and the script of the page.

/// The page with places for its parts.
pub(crate) const TEMPLATE: &str = include_str!("../assets/page.html");

/// The style sheet.
pub const STYLE: &str = include_str!("../assets/page.css");

/// The script: its files in the order in which they need each other.
pub const SCRIPT: &str = concat!(
    include_str!("../assets/dom.js"),
    include_str!("../assets/format.js"),
    include_str!("../assets/timeline.js"),
    include_str!("../assets/charts.js"),
    include_str!("../assets/sections.js"),
    include_str!("../assets/live.js"),
    include_str!("../assets/main.js"),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_parses_nothing_as_html_or_code() {
        let forbidden = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "createContextualFragment",
            "DOMParser",
            "eval(",
            "Function(",
            "setTimeout(\"",
            "javascript:",
            "srcdoc",
            "setAttribute(\"style\"",
        ];
        for word in forbidden {
            assert!(!SCRIPT.contains(word), "{word}");
        }
    }

    #[test]
    fn the_parts_cannot_end_their_elements() {
        for (part, end) in [(SCRIPT, "</script"), (SCRIPT, "<!--"), (STYLE, "</style"), (STYLE, "<!--")] {
            assert!(!part.to_lowercase().contains(end), "{end}");
        }
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for part in [TEMPLATE, STYLE, SCRIPT] {
            // The name of the SVG elements is no address that is opened.
            let part = part.replace("http://www.w3.org/2000/svg", "");
            for word in ["http:", "https:", "//cdn", "@import", "url(\"", "url('", "import(", "src="] {
                assert!(!part.contains(word), "{word}");
            }
        }
    }
}
