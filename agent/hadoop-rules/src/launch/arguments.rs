//! The words of a docker command line, limited as in the native code.

use alloc::vec::Vec;

use super::Refusal;

#[derive(Debug, Default)]
pub(super) struct Arguments(Vec<Vec<u8>>);

impl Arguments {
    const MOST: usize = 1_024;

    pub(super) fn push(&mut self, word: &[u8]) -> Result<(), Refusal> {
        if self.0.len() >= Self::MOST {
            return Err(Refusal::TooManyArguments);
        }
        self.0.push(word.to_vec());
        Ok(())
    }

    /// One word made of an option and its value.
    pub(super) fn push_option(&mut self, option: &str, value: &[u8]) -> Result<(), Refusal> {
        self.push(&[option.as_bytes(), value].concat())
    }

    /// Two words: an option, then its value.
    pub(super) fn push_pair(&mut self, option: &str, value: &[u8]) -> Result<(), Refusal> {
        self.push(option.as_bytes())?;
        self.push(value)
    }

    pub(super) fn into_words(self) -> Vec<Vec<u8>> {
        self.0
    }
}
