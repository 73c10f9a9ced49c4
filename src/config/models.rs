//! The models that the bridge is told of. It serves others as well; these it can name before anybody asks.

use std::fmt;
use std::str::FromStr;

/// A model, and labels of its versions: `NAME` or `NAME@LABEL@LABEL`. No model server tells its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    /// The name of the model.
    pub name: String,
    /// Labels that it may have.
    pub labels: Vec<String>,
}

impl ListedModel {
    /// A model without labels.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), labels: Vec::new() }
    }
}

impl FromStr for ListedModel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('@').map(str::to_owned);
        let name = parts.next().unwrap_or_default();
        let labels: Vec<_> = parts.collect();
        if name.is_empty() || labels.iter().any(String::is_empty) {
            return Err("the name of a model is expected, or NAME@LABEL".to_owned());
        }
        Ok(Self { name, labels })
    }
}

impl fmt::Display for ListedModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        self.labels.iter().try_for_each(|label| write!(formatter, "@{label}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_the_name() {
        for text in ["m", "m@stable", "m@a@b"] {
            assert_eq!(text.parse::<ListedModel>().unwrap().to_string(), text);
        }
        assert_eq!("m".parse(), Ok(ListedModel::new("m")));
        for bad in ["", "@a", "m@", "m@@a"] {
            assert!(bad.parse::<ListedModel>().is_err(), "{bad}");
        }
    }
}
