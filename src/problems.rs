//! What is wrong with a configuration: all of it, and not only what is found first.

use crate::error::{Error, Result};

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Error>);

impl Problems {
    /// Takes the error of a result in, if it is one; gives its value back.
    pub(crate) fn see<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => return Some(value),
            Err(Error::Several { problems }) => self.0.extend(problems),
            Err(problem) => self.0.push(problem),
        }
        None
    }

    /// No error where nothing was found, that error where one was, and else all of them in one.
    pub(crate) fn end(mut self) -> Result<()> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(self.0.remove(0)),
            _ => Err(Error::Several { problems: self.0 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(option: &'static str) -> Result<()> {
        Err(Error::InvalidOption { option, value: "0".to_owned(), want: "at least 1" })
    }

    #[test]
    fn all_are_listed_and_one_is_itself() {
        let found = |options: &[&'static str]| {
            let mut problems = Problems::default();
            assert_eq!(problems.see(Ok(7)), Some(7));
            options.iter().for_each(|option| assert_eq!(problems.see(bad(option)), None));
            problems.end()
        };
        assert!(found(&[]).is_ok());
        assert!(matches!(found(&["a"]), Err(Error::InvalidOption { option: "a", .. })));
        // Lists within lists are one list.
        let mut outer = Problems::default();
        outer.see(found(&["a", "b"]));
        outer.see(bad("c"));
        let error = outer.end().map_err(|error| error.to_string());
        let line = |option: &str| format!("\n- {option} is 0; it must be at least 1");
        assert_eq!(error, Err(format!("3 problems:{}{}{}", line("a"), line("b"), line("c"))));
    }
}
