//! Output against what was expected of it.
//!
//! `[..]` in an expected line stands for any text, a line `...` for any lines. Labs, `expect` and the shell's tests
//! compare by it, and so do the transcripts of `tools`.

/// Whether `line` is `pattern`, where `[..]` stands for any text.
pub fn matches(line: &str, pattern: &str) -> bool {
    let Some((head, rest)) = pattern.split_once("[..]") else { return line == pattern };
    let Some(line) = line.strip_prefix(head) else { return false };
    (0..=line.len()).any(|skipped| line.get(skipped..).is_some_and(|line| matches(line, rest)))
}

/// Whether the lines of `output` are those of `expected`, where a line `...` stands for any number of lines.
pub fn lines_match(output: &str, expected: &str) -> bool {
    rest_matches(output.lines(), expected.lines())
}

fn rest_matches<'t>(mut output: core::str::Lines<'t>, mut expected: core::str::Lines<'t>) -> bool {
    loop {
        match expected.next() {
            None => return output.next().is_none(),
            Some("...") => loop {
                if rest_matches(output.clone(), expected.clone()) {
                    return true;
                }
                if output.next().is_none() {
                    return false;
                }
            },
            Some(pattern) => {
                if !output.next().is_some_and(|line| matches(line, pattern)) {
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_and_any_lines() {
        assert!(matches("free 300 min 256", "free [..] min [..]"));
        assert!(!matches("free 300 min", "free [..] min [..]") && !matches("x", "") && matches("", "[..]"));
        assert!(lines_match("a\nb\nc\n", "a\n...\nc") && lines_match("a\n", "a\n...") && lines_match("", "..."));
        assert!(!lines_match("a\nb\n", "a") && !lines_match("a", "a\nb") && !lines_match("a\nb\n", "...\na"));
        assert!(lines_match("a\nb\na\nb\n", "...\nb\n...\nb"));
    }
}
