//! One batch of lines: decoded, sent to the model, and again in parts if the model refuses it, until what is
//! refused is a line.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;

use super::super::admission::Turn;
use super::super::attempts::{is_about_model, may_be_outdated};
use super::super::{Bridge, memory, offload, signature_or_default, version};
use super::inbox::hold;
use super::outbox::Shared;
use crate::codec::body::{self, untold};
use crate::codec::lines::{self, Batch, Decoded, Group, Sheet};
use crate::codec::media::Agreement;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::{PredictRequest, PredictResponse};
use crate::record::{Part, Record};
use crate::route::Target;
use crate::signature::Known;
use crate::upstream::{Account, Call, Deadline};

/// How many changes of the model one batch goes along with.
const MOST_CHANGES: usize = 100;

/// How long lines that cannot be read are taken for what they are, before the signatures are asked for again.
const TRUST: Duration = Duration::from_secs(1);

/// How often to look whether there is a turn again.
const TURN_INTERVAL: Duration = Duration::from_millis(20);

/// What a line takes beside its values while it is decoded alone.
const LINE: usize = 1 << 10;

/// The work on a request's lines.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) bridge: Arc<Bridge>,
    target: Target,
    agreement: Arc<Agreement>,
    /// What the calls for its batches are made from; its memory is that of what has been read.
    pub(super) base: Call,
    /// What is learnt of the request.
    pub(super) record: Arc<Record>,
    /// How long a batch may take.
    timeout: Option<Duration>,
    /// Where attempts are counted.
    shared: Arc<Shared>,
    /// When the signatures were last asked for because of lines that cannot be read.
    asked: Mutex<Option<Instant>>,
}

/// The answers to a batch.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) text: Vec<u8>,
    pub(super) memory: Arc<Account>,
    /// Why all of its lines have failed, if that has nothing to do with them.
    pub(super) failure: Option<Error>,
}

/// What came of a batch.
enum Attempt {
    Done(Sheet),
    /// The model is another one.
    Outdated(Arc<Known>),
}

impl Job {
    /// The work on the lines of a request with this call.
    pub(super) fn new(
        bridge: &Arc<Bridge>,
        target: &Target,
        agreement: Arc<Agreement>,
        call: &Call,
        shared: &Arc<Shared>,
    ) -> Self {
        Self {
            bridge: Arc::clone(bridge),
            target: target.clone(),
            agreement,
            base: call.detached(call.deadline),
            record: Arc::clone(&call.record),
            timeout: call.deadline.remaining(),
            shared: Arc::clone(shared),
            asked: Mutex::default(),
        }
    }

    /// Answers a batch, whatever happens.
    pub(super) async fn answer(self: Arc<Self>, batch: Batch) -> Answer {
        let call = self.base.detached(self.timeout.map_or(Deadline::NEVER, Deadline::after));
        let batch = Arc::new(batch);
        let sheet = self.attempts(&batch, &call).await;
        self.record.absorb(&call.record);
        self.shared.count_attempts(call.attempts());
        let (mut text, failure) = match sheet {
            Ok(sheet) => (sheet.finish(), None),
            Err(error) => {
                let mut sheet = Sheet::new(&batch);
                sheet.fail_all(&(0..batch.len()).collect::<Vec<_>>(), &error);
                (sheet.finish(), Some(error))
            }
        };
        drop(batch);
        // It may wait for long, and takes no more than it has.
        text.shrink_to_fit();
        call.memory.settle(text.len());
        Answer { text, memory: Arc::clone(&call.memory), failure }
    }

    /// Answers a batch, again if the model has changed meanwhile.
    ///
    /// # Errors
    ///
    /// What keeps all lines from being answered and has nothing to do with them.
    async fn attempts(&self, batch: &Arc<Batch>, call: &Call) -> Result<Sheet> {
        let begun = call.deadline.limit("waiting for a turn", self.begin(batch, call)).await?;
        let (mut known, _turn) = begun?;
        let mut target = self.target.clone();
        for _ in 0..MOST_CHANGES {
            match self.attempt(&target, batch, &known, call).await? {
                Attempt::Done(sheet) => return Ok(sheet),
                Attempt::Outdated(newer) => {
                    self.make_room(batch, &newer, call).await?;
                    known = newer;
                }
            }
            // The version is from now on the one that the signatures belong to.
            target = known.version.map_or_else(|| self.target.clone(), |version| self.target.at(version));
        }
        Err(Error::unavailable("The model changes all the time"))
    }

    /// Gets together what it takes to work on a batch.
    async fn begin(&self, batch: &Batch, call: &Call) -> Result<(Arc<Known>, Turn<'_>)> {
        let known = self.bridge.signatures.get(&self.target, call).await?;
        self.make_room(batch, &known, call).await?;
        Ok((known, self.turn(call).await?))
    }

    /// Holds the memory that it takes to decode a batch.
    async fn make_room(&self, batch: &Batch, known: &Known, call: &Call) -> Result<()> {
        let (signatures, size) = (known.signatures.as_ref(), size(batch));
        // Where there is plenty, what is in the lines is not looked at: decoding tells soon enough.
        if let Some(tensors) = memory::of_any_lines(batch.size(), signatures)
            && call.memory.hold_if_plenty((size + 2 * tensors).saturating_sub(call.memory.held()))
        {
            return Ok(());
        }
        let tensors: usize = batch.texts().iter().map(|text| memory::of_lines(text, signatures)).sum();
        hold(&call.memory, size + 2 * tensors, self.bridge.api.body_timeout).await
    }

    /// Waits for the batch's turn. Until the deadline there is time: a stream is in no hurry.
    async fn turn(&self, call: &Call) -> Result<Turn<'_>> {
        loop {
            match self.bridge.admission.enter(&call.record).await {
                Err(error) if error.retry_after() => tokio::time::sleep(TURN_INTERVAL).await,
                result => return result,
            }
        }
    }

    async fn attempt(
        &self,
        target: &Target,
        batch: &Arc<Batch>,
        known: &Arc<Known>,
        call: &Call,
    ) -> Result<Attempt> {
        let decode = self.decode(batch, known, call);
        let Decoded { groups, faults } = call.deadline.limit("decoding the lines", decode).await??;
        if !faults.is_empty()
            && self.may_ask()
            && let Some(newer) = self.newer(known, call).await
        {
            return Ok(Attempt::Outdated(newer));
        }
        let mut sheet = Sheet::new(batch);
        for (line, error) in &faults {
            sheet.fail(*line, error);
        }
        let mut groups: Vec<Group> = groups.into_iter().rev().collect();
        let mut has_asked = false;
        let (mut failed, mut failure) = (0, None);
        while let Some(group) = groups.pop() {
            let error = match self.predict(target, &group, known, call).await {
                Ok(reply) => {
                    sheet = self.encode(sheet, group.lines, reply, call).await?;
                    continue;
                }
                Err(error) => error,
            };
            if may_be_outdated(&error) && !std::mem::replace(&mut has_asked, true) {
                let is_gone = target != &self.target && is_about_model(&error);
                let newer = self.newer(known, call).await.or_else(|| is_gone.then(|| Arc::clone(known)));
                if let Some(newer) = newer {
                    return Ok(Attempt::Outdated(newer));
                }
            }
            if is_about_values(&error) {
                if let Some([first, second]) = group.halves() {
                    groups.extend([second, first]);
                    continue;
                }
            } else {
                failed += group.lines.len();
                failure = Some(error.clone());
            }
            sheet.fail_all(&group.lines, &error);
        }
        match failure {
            Some(error) if failed == batch.len() => Err(error),
            _ => Ok(Attempt::Done(sheet)),
        }
    }

    async fn decode(&self, batch: &Arc<Batch>, known: &Arc<Known>, call: &Call) -> Result<Decoded> {
        let _timer = call.record.timer(Part::Decode);
        let (limits, check_shapes) = (self.bridge.api.limits, self.bridge.api.check_shapes);
        let (lines, known) = (Arc::clone(batch), Arc::clone(known));
        let name = self.signature_name().to_owned();
        let decode = move || {
            let signature = known.signatures.as_ref().ok_or_else(untold)?.get(&name)?;
            Ok(lines::decode(&lines, signature, &limits, check_shapes))
        };
        let decoded = offload(batch.size(), &call.memory, decode).await?;
        let tensors = decoded.groups.iter().flat_map(|group| group.inputs.values());
        call.memory.settle(size(batch) + 2 * tensors.map(memory::of_tensor).sum::<usize>());
        Ok(decoded)
    }

    async fn predict(
        &self,
        target: &Target,
        group: &Group,
        known: &Arc<Known>,
        call: &Call,
    ) -> Result<PredictResponse> {
        let bridge = &self.bridge;
        let request = PredictRequest {
            model_spec: Some(target.to_spec(self.signature_name())),
            inputs: group.inputs.clone(),
            output_filter: self.agreement.parameters.outputs.clone(),
            ..PredictRequest::default()
        };
        let entry = bridge.payload_log.as_ref().and_then(|log| {
            let size = group.inputs.values().map(|tensor| tensor.tensor_content.len()).sum();
            log.sample(&request, size)
        });
        let reply = bridge.upstream.predict(request, call).await?;
        if let Some(entry) = entry {
            entry.keep();
        }
        let answered = version(reply.model_spec.as_ref());
        bridge.signatures.check_version(&self.target, known, answered, call);
        let signature = signature_or_default(self.signature_name());
        call.record.note_subject(&self.target.name, signature, answered);
        Ok(reply)
    }

    /// Answers lines with a reply, or with what is wrong with it.
    async fn encode(
        &self,
        sheet: Sheet,
        lines: Vec<usize>,
        reply: PredictResponse,
        call: &Call,
    ) -> Result<Sheet> {
        let size = memory::of_reply(&reply);
        // As much for the text as for the reply, and what it gains.
        let room = memory::of_rows(&reply, size);
        hold(&call.memory, call.memory.held().saturating_add(room), self.bridge.api.body_timeout).await?;
        let (nan, most) = (self.bridge.api.nan, self.bridge.api.max_response_size);
        let mut sheet = sheet;
        let top_k = self.agreement.parameters.top_k;
        let encode = move || {
            let answered =
                body::best(reply, top_k).and_then(|reply| sheet.answer(&lines, &reply.outputs, nan, most));
            if let Err(error) = answered {
                sheet.fail_all(&lines, &error);
            }
            Ok(sheet)
        };
        let encoded = call.record.measure(Part::Encode, offload(size, &call.memory, encode)).await;
        call.memory.release(size);
        encoded
    }

    /// The signatures as the backend has them now, if they are others than these.
    async fn newer(&self, known: &Arc<Known>, call: &Call) -> Option<Arc<Known>> {
        let newer = self.bridge.signatures.refresh(&self.target, known, call).await.ok()?;
        (newer.signatures != known.signatures || newer.version != known.version).then_some(newer)
    }

    /// Whether it is time to ask for the signatures because of lines that cannot be read.
    fn may_ask(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = asked.is_none_or(|asked| asked.elapsed() >= TRUST);
        if is_time {
            *asked = Some(Instant::now());
        }
        is_time
    }

    fn signature_name(&self) -> &str {
        self.agreement.parameters.signature_name.as_deref().unwrap_or_default()
    }
}

/// How much memory a batch takes beside its tensors. Its texts may be parts of buffers that are twice as large.
fn size(batch: &Batch) -> usize {
    2 * batch.size() + batch.len() * LINE
}

/// Whether an error may be one of the rows of a batch, and others would be taken without them.
fn is_about_values(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Internal
            | Code::Unknown
            | Code::DataLoss
    ) || (error.code() == Code::NotFound && !is_about_model(error))
}
