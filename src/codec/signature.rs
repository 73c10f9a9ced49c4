//! What the codec must know of a model: the named inputs of its signatures and their dtypes.

pub mod file;

use std::collections::BTreeMap;

use super::dtype;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::SignatureDefMap;
use crate::proto::tensorflow::{DataType, SignatureDef, TensorInfo};

/// The signature that an empty or absent `signature_name` stands for.
pub const DEFAULT_SIGNATURE: &str = "serving_default";

/// One named input of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The alias by which requests name it.
    pub name: String,
    /// The element type: it decides how JSON values are read.
    pub dtype: DataType,
    /// Its dimensions, -1 where any size will do; `None` if even the rank is open.
    pub shape: Option<Vec<i64>>,
}

/// The inputs of one signature, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signature {
    /// The named inputs; a request gives a tensor for each.
    pub inputs: Vec<Input>,
}

/// The signatures of one version of a model, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures {
    by_name: BTreeMap<String, Signature>,
}

impl Signatures {
    /// The signature of that name; the empty name is [`DEFAULT_SIGNATURE`].
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if there is none, or if it has no inputs, in the original's words.
    pub fn get(&self, name: &str) -> Result<&Signature> {
        let effective = if name.is_empty() { DEFAULT_SIGNATURE } else { name };
        let signature = self.by_name.get(effective).ok_or_else(|| {
            Error::invalid_argument(format!(
                "Serving signature name: \"{effective}\" not found in signature def"
            ))
        })?;
        if signature.inputs.is_empty() {
            let shown = if name.is_empty() { "DEFAULT" } else { name };
            return Err(Error::invalid_argument(format!("Failed to get input map for signature: {shown}")));
        }
        Ok(signature)
    }

    /// The most bytes that a number takes of any of their inputs; 0 if there are no numbers.
    #[must_use]
    pub fn widest_number(&self) -> usize {
        let inputs = self.by_name.values().flat_map(|signature| &signature.inputs);
        inputs.filter_map(|input| dtype::width(input.dtype)).max().unwrap_or_default()
    }

    /// True if there is an input of strings.
    #[must_use]
    pub fn has_strings(&self) -> bool {
        let mut inputs = self.by_name.values().flat_map(|signature| &signature.inputs);
        inputs.any(|input| input.dtype == DataType::DtString)
    }

    /// The names of all signatures, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

impl Signature {
    /// A signature with these inputs, in any order.
    #[must_use]
    pub fn new(mut inputs: Vec<Input>) -> Self {
        inputs.sort_by(|left, right| left.name.cmp(&right.name));
        Self { inputs }
    }

    /// The input of that name.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` with the names of those that there are.
    pub fn input(&self, name: &str) -> Result<&Input> {
        let index = self.inputs.binary_search_by(|input| input.name.as_str().cmp(name));
        index.ok().and_then(|index| self.inputs.get(index)).ok_or_else(|| {
            let names: Vec<_> = self.inputs.iter().map(|input| input.name.as_str()).collect();
            Error::invalid_argument(format!(
                "There is no input {name:?} in the signature; it has: {}",
                names.join(", ")
            ))
        })
    }
}

impl FromIterator<(String, Signature)> for Signatures {
    fn from_iter<I: IntoIterator<Item = (String, Signature)>>(signatures: I) -> Self {
        Self { by_name: signatures.into_iter().collect() }
    }
}

impl From<&SignatureDefMap> for Signatures {
    fn from(map: &SignatureDefMap) -> Self {
        map.signature_def.iter().map(|(name, definition)| (name.clone(), definition.into())).collect()
    }
}

impl From<&SignatureDef> for Signature {
    fn from(definition: &SignatureDef) -> Self {
        Self::new(definition.inputs.iter().map(|(name, info)| Input::new(name, info)).collect())
    }
}

impl Input {
    fn new(name: &str, info: &TensorInfo) -> Self {
        Self { name: name.to_owned(), dtype: dtype::from_wire(info.dtype), shape: dimensions(info) }
    }
}

/// The dimensions of an input or output, -1 where any size will do; `None` if even the rank is open.
pub(super) fn dimensions(info: &TensorInfo) -> Option<Vec<i64>> {
    let shape = info.tensor_shape.as_ref().filter(|shape| !shape.unknown_rank)?;
    Some(shape.dim.iter().map(|dim| dim.size).collect())
}
