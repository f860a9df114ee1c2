//! The functions that an exported text needs, out of a file that has them all.

/// Those functions of `file` that `wanted` names or that they call, in the order of the file, each with the comment above it, and
/// with `prefix` before its name.
///
/// A function of the file starts at `fn name(` or `fn name<` and ends at the first line that is `}`.
pub(super) fn functions(file: &str, wanted: &[&str], prefix: &str) -> String {
    let items: Vec<(&str, &str)> = items(file).collect();
    let mut needed: Vec<&str> = Vec::new();
    let mut open: Vec<&str> = wanted.to_vec();
    while let Some(name) = open.pop() {
        if needed.contains(&name) {
            continue;
        }
        needed.push(name);
        if let Some((_, text)) = items.iter().find(|(known, _)| *known == name) {
            open.extend(items.iter().map(|(known, _)| *known).filter(|known| calls(text, known)));
        }
    }
    let mut out = String::new();
    for (_, text) in items.iter().filter(|(name, _)| needed.contains(name)) {
        let text = items.iter().fold((*text).to_owned(), |text, (name, _)| renamed(&text, name, prefix));
        out.push_str(&text);
        out.push_str("\n\n");
    }
    out
}

/// Name and text of each function.
fn items(file: &str) -> impl Iterator<Item = (&str, &str)> {
    file.split("\n\n").filter_map(|block| {
        let block = block.trim_end();
        let start = if block.starts_with("fn ") { 0 } else { block.find("\nfn ")? + 1 };
        let name = block.get(start + 3..)?;
        let name = name.get(..name.find(['(', '<'])?)?;
        Some((name, block))
    })
}

/// The places where `text` has `name(`, or `name<`, as a whole word.
fn places<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(name).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.') && matches!(after, Some('(' | '<'))
    })
}

fn calls(text: &str, name: &str) -> bool {
    places(text, name).next().is_some()
}

fn renamed(text: &str, name: &str, prefix: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for at in places(text, name) {
        out.push_str(&text[from..at]);
        out.push_str(prefix);
        from = at;
    }
    out.push_str(&text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::functions;

    const FILE: &str =
        "// head\n\n// a\nfn a(x: f32) -> f32 {\n    return b(x) + xa(x);\n}\n\nfn b(x: f32) {}\n\nfn c(x: f32) {}\n";

    #[test]
    fn what_is_called_comes_along_and_is_renamed() {
        assert_eq!(
            functions(FILE, &["a"], "p_"),
            "// a\nfn p_a(x: f32) -> f32 {\n    return p_b(x) + xa(x);\n}\n\nfn p_b(x: f32) {}\n\n"
        );
        assert_eq!(functions(FILE, &[], "p_"), "");
        assert_eq!(functions(FILE, &["c"], ""), "fn c(x: f32) {}\n\n");
    }
}
