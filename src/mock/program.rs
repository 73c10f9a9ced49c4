//! What a version of a model does: the signatures through which it is called, and what stands behind them.
//!
//! It is a graph that computes, or an answer that is made up to fit the signature.

use super::answer::Answer;
use super::graph::{self, Feed, Fetch, Graph, Signatures};
use super::tensor::Tensor;
use crate::error::Result;

/// A version of a model, as a `SavedModel` holds it.
#[derive(Debug, Default)]
pub(super) struct Program {
    body: Body,
    pub(super) signatures: Signatures,
}

#[derive(Debug)]
enum Body {
    Graph(Box<dyn Graph>),
    Answer(Answer),
}

impl Default for Body {
    fn default() -> Self {
        Self::Answer(Answer::default())
    }
}

impl Program {
    pub(super) fn of_graph(graph: impl Graph + 'static) -> Self {
        let signatures = graph.signatures();
        Self { body: Body::Graph(Box::new(graph)), signatures }
    }

    pub(super) fn of_answer(answer: Answer, signatures: Signatures) -> Self {
        Self { body: Body::Answer(answer), signatures }
    }

    /// Takes a tensor for each input, in the order of their aliases, and gives the outputs in their order.
    pub(super) fn run(
        &self,
        signature: &str,
        feeds: Vec<Feed<'_>>,
        fetches: &[Fetch<'_>],
    ) -> Result<Vec<Tensor>> {
        graph::check_dtypes(&feeds)?;
        match &self.body {
            Body::Graph(graph) => graph::run(graph.as_ref(), feeds, fetches),
            Body::Answer(answer) => answer.give(signature, &feeds, fetches),
        }
    }
}
