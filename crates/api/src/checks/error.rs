//! Why a resource is refused, in Calico's words (`libcalico-go/lib/errors`).

use std::fmt;

/// A fault of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field, in the notation of the rule that it breaks: `IPPool.Spec.CIDR`, `spec.cidr`,
    /// `NodeSelector`.
    pub name: String,
    /// The field's value, if the rule shows it.
    pub value: Option<String>,
    /// What is wrong with it.
    pub reason: String,
    /// What helps, where Calico's words do not say it; it may have several lines.
    pub help: Option<String>,
}

impl FieldError {
    /// A fault that shows the value.
    pub fn of_value(
        name: impl Into<String>,
        value: impl Into<String>,
        reason: impl Into<String>,
    ) -> FieldError {
        FieldError { name: name.into(), value: Some(value.into()), reason: reason.into(), help: None }
    }

    /// A fault that does not show the value.
    pub fn new(name: impl Into<String>, reason: impl Into<String>) -> FieldError {
        FieldError { name: name.into(), value: None, reason: reason.into(), help: None }
    }
}

impl FieldError {
    /// The fault with what helps.
    pub(crate) fn with_help(self, help: impl Into<String>) -> FieldError {
        FieldError { help: Some(help.into()), ..self }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(value) = &self.value {
            write!(f, " = '{value}'")?;
        }
        if !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        Ok(())
    }
}

/// Why a resource is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValidationError {
    /// These fields are wrong; at least one.
    Fields(Vec<FieldError>),
    /// A fault that names no field.
    Text(String),
}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValidationError::Text(text) => f.write_str(text),
            ValidationError::Fields(fields) => match fields.as_slice() {
                [one] => write!(f, "error with field {one}"),
                many => {
                    f.write_str("error with the following fields:\n")?;
                    many.iter().try_for_each(|field| writeln!(f, "-  {field}"))
                }
            },
        }
    }
}

impl ValidationError {
    /// What helps, a text a field.
    pub fn help(&self) -> impl Iterator<Item = String> {
        let fields = match self {
            ValidationError::Fields(fields) => fields.as_slice(),
            ValidationError::Text(_) => &[],
        };
        fields.iter().filter_map(|field| Some(format!("{}: {}", field.name, field.help.as_ref()?)))
    }
}

impl std::error::Error for ValidationError {}

impl From<FieldError> for ValidationError {
    fn from(field: FieldError) -> Self {
        ValidationError::Fields(vec![field])
    }
}

/// Success where there are no faults, else the error that names them.
pub(crate) fn result(faults: Vec<FieldError>) -> Result<(), ValidationError> {
    if faults.is_empty() { Ok(()) } else { Err(ValidationError::Fields(faults)) }
}
