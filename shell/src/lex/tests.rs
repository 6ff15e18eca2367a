//! Lines in, commands and mistakes out.

use super::*;
use alloc::format;
use alloc::string::ToString;

/// Every command of `line` as `JOINT[word|word]>file`, with `$?` being 130, or the error.
#[track_caller]
fn check_line(line: &str, expected: &str) {
    let mut out = String::new();
    let mut words = Words::for_line(line).unwrap();
    let mut lexer = Lexer::new(line);
    let error = loop {
        match lexer.next(130, &mut words) {
            Ok(Some(joint)) => {
                let list: Vec<&str> = words.args().iter().collect();
                out += &format!("{}[{}]", joint.sign(), list.join("|"));
                out += &words.redirection().map_or(String::new(), |file| format!(">{file}"));
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let text = error.map_or(out, |error| error.to_string());
    assert_eq!(text, expected, "line: {line:?}");
}

#[test]
fn words_end_at_blanks() {
    check_line("alloc  GFP_KERNEL\t-o 3", ";[alloc|GFP_KERNEL|-o|3]");
    check_line("", "");
    check_line("   \t", "");
}

#[test]
fn operators_join_commands() {
    check_line("a;b && c||d", ";[a];[b]&&[c]||[d]");
    check_line("a;", ";[a]");
    check_line("a ; # rest", ";[a]");
    check_line("; a", "column 1: no command before ;");
    check_line("a ;; b", "column 4: no command before ;");
    check_line("a &&", "column 3: no command after &&");
    check_line("a || # b", "column 3: no command after ||");
    check_line("a && || b", "column 6: no command before ||");
}

#[test]
fn a_single_bar_or_ampersand_belongs_to_the_mask() {
    check_line("gfp GFP_KERNEL|__GFP_ZERO&~__GFP_IO", ";[gfp|GFP_KERNEL|__GFP_ZERO&~__GFP_IO]");
    check_line("gfp A||b", ";[gfp|A]||[b]");
}

#[test]
fn a_digit_tells_handles_from_comments() {
    check_line("free #8..#51 # these", ";[free|#8..#51]");
    check_line("#comment", "");
    check_line("# 7", "");
    check_line("a#b", ";[a#b]");
}

#[test]
fn quotes_and_backslashes_keep_characters() {
    check_line("echo 'a  ;$x' \"b '$?'\" c\\;d", ";[echo|a  ;$x|b '130'|c;d]");
    check_line("echo \"\\\"\\$\\n\"", ";[echo|\"$\\n]");
    check_line("echo '' x", ";[echo||x]");
    check_line("echo a'b'c", ";[echo|abc]");
    check_line("echo 'abc", "column 6: the quote ' is never closed");
    check_line("echo a\\", "column 7: nothing follows the backslash");
}

#[test]
fn status_is_the_only_variable() {
    check_line("echo $? $?$?", ";[echo|130|130130]");
    check_line("echo $PATH", "column 6: only $? is known; write \\$ for the character");
}

#[test]
fn redirection_takes_one_file_at_the_end() {
    check_line("echo 5 > /proc/x", ";[echo|5]>/proc/x");
    check_line("echo 5>/proc/x; a", ";[echo|5]>/proc/x;[a]");
    check_line("echo 5 >", "column 9: > wants one file name, as the last word");
    check_line("echo 5 > a b", "column 12: > wants one file name, as the last word");
    check_line("echo 5 >> a", "column 9: > wants one file name, as the last word");
    check_line("> a", "column 1: > wants one file name, as the last word");
}

#[test]
fn bytes_beyond_ascii_are_refused() {
    check_line("echo \u{e9}", "column 6: byte 0xc3 is not printable ASCII");
    check_line("echo '\u{7f}'", "column 7: byte 0x7f is not printable ASCII");
    check_line("a # \u{e9}", ";[a]");
}

#[test]
fn a_mistake_in_the_tail_stops_the_head() {
    assert!(check("a; b 'c").is_err());
    assert!(check(&"x".repeat(LINE_BYTES_MAX)).is_ok());
    let error = check(&"x".repeat(LINE_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(error.to_string(), "column 1025: the line is longer than 1024 bytes");
}

#[test]
fn room_for_the_worst_line_is_reserved() {
    check(&"$?".repeat(LINE_BYTES_MAX / 2)).unwrap();
    check(&"x ".repeat(LINE_BYTES_MAX / 2)).unwrap();
}

#[test]
fn the_tail_of_words_is_a_view() {
    let mut words = Words::for_line("ctx softirq alloc GFP_ATOMIC").unwrap();
    Lexer::new("ctx softirq alloc GFP_ATOMIC").next(0, &mut words).unwrap();
    let rest = words.args().skip(2);
    assert_eq!((rest.len(), rest.get(0), rest.get(2)), (2, Some("alloc"), None));
    assert!(rest.skip(9).is_empty());
}

/// The lists of `line`, those in the background with `&` behind them.
#[track_caller]
fn check_lists(line: &str, expected: &[&str]) {
    assert_eq!(check(line), Ok(()));
    let (mut lists, mut words, mut found) = (Lists::new(line), Words::for_line(line).unwrap(), Vec::new());
    while let Some(List { text, in_background }) = lists.next(&mut words) {
        found.push(format!("{text}{}", if in_background { " &" } else { "" }));
    }
    assert_eq!(found, expected, "line: {line:?}");
}

#[test]
fn lists_end_at_semicolons_and_lone_ampersands() {
    check_lists("", &[]);
    check_lists("a b", &["a b"]);
    check_lists("a && b; c || d & e # rest", &["a && b", "c || d &", "e # rest"]);
    check_lists("a & ", &["a &"]);
    check_lists("a; # rest", &["a"]);
    check_lists("echo 'a & b; c' \\& d", &["echo 'a & b; c' \\& d"]);
    check_lists("gfp A&~B", &["gfp A&~B"]);
}

#[test]
fn a_lone_ampersand_wants_a_command() {
    check_line("& a", "column 1: no command before &");
    check_line("a && & b", "column 6: no command before &");
    check_line("a & && b", "column 5: no command before &&");
}
