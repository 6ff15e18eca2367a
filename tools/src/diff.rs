//! Compares lines of text with a pattern and shows the differences.
//!
//! In the pattern `...` alone on a line stands for any lines, `[..]` for any text within a line. The comparison is the
//! shortest edit from one to the other: none needed means a match.

/// Stands for any number of lines.
const ANY_LINES: &str = "...";
/// Stands for any text within a line.
const ANY_TEXT: &str = "[..]";

/// The differences, marked `-` (expected, missing) and `+` (not expected); none if `lines` match `pattern`.
pub fn lines<P: AsRef<str>, L: AsRef<str>>(pattern: &[P], lines: &[L]) -> Option<String> {
    let costs = costs(pattern, lines);
    if costs[0][0] == 0 {
        return None;
    }
    let (mut row, mut column, mut text) = (0, 0, String::new());
    while row < pattern.len() || column < lines.len() {
        let cost = costs[row][column];
        let expected = pattern.get(row).map(AsRef::as_ref);
        let found = lines.get(column).map(AsRef::as_ref);
        match (expected, found) {
            (Some(ANY_LINES), _) if costs[row + 1][column] == cost => row += 1,
            (Some(ANY_LINES), Some(_)) => column += 1,
            (Some(expected), Some(found)) if matches(expected, found) && costs[row + 1][column + 1] == cost => {
                text += &format!("    {found}\n");
                (row, column) = (row + 1, column + 1);
            }
            (Some(expected), _) if costs[row + 1][column] < cost => {
                text += &format!("  - {expected}\n");
                row += 1;
            }
            (_, found) => {
                text += &format!("  + {}\n", found.unwrap_or_default());
                column += 1;
            }
        }
    }
    Some(text)
}

/// `costs[row][column]`: lines to remove or add so that `pattern[row..]` matches `lines[column..]`.
fn costs<P: AsRef<str>, L: AsRef<str>>(pattern: &[P], lines: &[L]) -> Vec<Vec<usize>> {
    let mut costs = vec![vec![usize::MAX; lines.len() + 1]; pattern.len() + 1];
    for row in (0..=pattern.len()).rev() {
        for column in (0..=lines.len()).rev() {
            costs[row][column] = match (pattern.get(row), lines.get(column)) {
                (None, _) => lines.len() - column,
                (Some(any), None) => costs[row + 1][column] + usize::from(any.as_ref() != ANY_LINES),
                (Some(any), Some(_)) if any.as_ref() == ANY_LINES => costs[row + 1][column].min(costs[row][column + 1]),
                (Some(expected), Some(found)) => {
                    let edit = 1 + costs[row + 1][column].min(costs[row][column + 1]);
                    let equal = matches(expected.as_ref(), found.as_ref());
                    if equal { edit.min(costs[row + 1][column + 1]) } else { edit }
                }
            };
        }
    }
    costs
}

/// Whether one line matches a pattern.
fn matches(pattern: &str, line: &str) -> bool {
    let mut pieces = pattern.split(ANY_TEXT);
    let Some(mut rest) = line.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines in this test are words.
    #[track_caller]
    fn check(pattern: &str, text: &str, expected: Option<&str>) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let marks = lines(&words(pattern), &words(text));
        let marks =
            marks.map(|text| text.lines().map(|line| line.trim().replace(' ', "")).collect::<Vec<_>>().join(" "));
        assert_eq!(marks.as_deref(), expected, "{pattern} | {text}");
    }

    #[test]
    fn equal_lines_match() {
        check("", "", None);
        check("a b", "a b", None);
        check("a b", "a c b", Some("a +c b"));
        check("a b c", "a c", Some("a -b c"));
        check("a b", "a x", Some("a -b +x"));
        check("a", "", Some("-a"));
    }

    #[test]
    fn dots_stand_for_lines() {
        for text in ["a z", "a b z", "a b c z", "a z z"] {
            check("a ... z", text, None);
        }
        check("...", "", None);
        check("a ... z", "a b c", Some("a -z"));
        check("... m ...", "a b m", None);
        check("... m ...", "a b", Some("-m"));
    }

    #[test]
    fn brackets_stand_for_text() {
        for (pattern, line, matched) in [
            ("pfn 0x[..] DMA", "pfn 0x48 DMA", true),
            ("pfn 0x[..] DMA", "pfn 0x48 DMA32", false),
            ("[..]", "", true),
            ("a[..]", "a", true),
            ("[..]b", "ab", true),
            ("a[..]a", "a", false),
            ("[..]b[..]b", "b", false),
            ("[..]b[..]b", "xbyb", true),
            ("ab", "abc", false),
        ] {
            assert_eq!(matches(pattern, line), matched, "{pattern} | {line}");
        }
    }
}
