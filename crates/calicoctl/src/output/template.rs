//! `-o go-template`: Go templates over Go's view of the resources. The crate gotmpl parses the templates and
//! has Go's functions. This module runs the templates itself, because the texts of errors, and Calico's guard
//! against injection into the output, need Go's types.

mod data;
mod evaluate;
mod function;
mod structure;
mod syntax;
pub mod types;

#[cfg(test)]
mod tests;

use thiserror::Error;

/// The largest file of a template, in bytes.
pub const MAX_TEXT: usize = 1 << 20;
/// The most bytes that a template may write, or put together in one value.
const MAX_OUTPUT: usize = 64 << 20;
/// How many nodes of a template may be run, counting each item of a loop: some seconds' work.
const MAX_STEPS: u64 = 10_000_000;

pub use data::{Data, Field};
use evaluate::Run;

/// Why a template gave no output. The texts are Go's, as far as gotmpl distinguishes errors of syntax.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The text is no template, or does not fit the data.
    #[error("{0}")]
    Template(String),
    /// The output of the template is no YAML. Little is refused for this: a word is YAML, and so are words in
    /// several lines.
    #[error("Invalid YAML Template")]
    NotYaml,
    /// The data changes the structure of the YAML, not only its scalars.
    #[error("YAML Injection Detected")]
    Injection,
}

/// Runs a template. `config` is the template function of that name: it takes the name of a setting
/// (`asnumber`, in any case) and returns the setting's value, or a text that says that there is no such
/// setting.
pub fn render(
    template: &str,
    data: &Data,
    config: &dyn Fn(&str) -> Result<String, String>,
) -> Result<String, TemplateError> {
    let syntax = syntax::parse(template).map_err(TemplateError::Template)?;
    let run = |change: Option<evaluate::Change<'_>>| {
        Run { text: template, syntax: &syntax, config, change }.execute(data).map_err(TemplateError::Template)
    };
    let output = run(None)?;
    if !data.any_text(&|text| text.contains(|c| structure::SPECIAL.contains(c))) {
        return Ok(output);
    }
    let base = structure::shapes(&run(Some(&structure::baseline))?).ok_or(TemplateError::NotYaml)?;
    let asked = structure::shapes(&output).ok_or(TemplateError::Injection)?;
    let doubled =
        structure::shapes(&run(Some(&structure::double_characters))?).ok_or(TemplateError::Injection)?;
    if structure::agree_all(&base, &asked, &doubled) { Ok(output) } else { Err(TemplateError::Injection) }
}
