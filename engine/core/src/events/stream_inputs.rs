//! Inputs that can't be read again where they came from, such as those of standard input, as a run's journal has them: what a branch of
//! such a run is given in their place.

use std::collections::VecDeque;

use wasm_engine_components::{Action, EventCounts, ExternalEvent, FrameInputs, ModelAnswers, Swap};

/// Input from outside for one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamFrame {
    /// Number of the frame.
    pub frame: u64,
    /// Messages, commands, and the swaps that aren't the scenario's own.
    pub inputs: FrameInputs,
}

/// The form in which a frame is stored: its number, its inputs, and how many lines were delivered, disabled and late. None is late.
type Stored<E, A, S> = (u64, (E, A, S), (u64, u64, u64));

impl StreamFrame {
    /// Returns the bytes in which frames are stored.
    pub fn encode(frames: &[Self]) -> Vec<u8> {
        let stored = |Self { frame, inputs }: &'_ Self| -> Stored<_, _, _> {
            let FrameInputs { events, commands, swaps, models: _, counts } = inputs;
            let inputs = (events.clone(), commands.clone(), swaps.clone());
            (*frame, inputs, (counts.delivered, counts.disabled, 0))
        };
        let stored: Vec<_> = frames.iter().map(stored).collect();
        postcard::to_allocvec(&stored).expect("plain data is written to memory")
    }

    /// Returns the frames that bytes store, or `None` for bytes that [`encode`](Self::encode) never made.
    pub fn decode(bytes: &[u8]) -> Option<Vec<Self>> {
        let stored: Vec<Stored<Vec<ExternalEvent>, Vec<Action>, Vec<Swap>>> = postcard::from_bytes(bytes).ok()?;
        let frames = stored.into_iter().map(|(frame, (events, commands, swaps), (delivered, disabled, _))| {
            let counts = EventCounts { delivered, disabled };
            Self { frame, inputs: FrameInputs { events, commands, swaps, models: ModelAnswers::Compute, counts } }
        });
        Some(frames.collect())
    }
}

/// Recorded inputs, from the first frame that hasn't been asked for.
#[derive(Debug, Default)]
pub(super) struct StreamInputs(VecDeque<StreamFrame>);

impl StreamInputs {
    pub fn new(frames: Vec<StreamFrame>) -> Self {
        Self(frames.into())
    }

    /// Returns the inputs of a frame, if there are any. Frames are asked for in their order.
    pub fn of(&mut self, frame: u64) -> Option<FrameInputs> {
        while self.0.pop_front_if(|stored| stored.frame < frame).is_some() {}
        self.0.pop_front_if(|stored| stored.frame == frame).map(|stored| stored.inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_engine_components::{AgentId, GroupId, LifecycleAction, ModuleSwap, Recipient};

    #[test]
    fn stored_inputs_come_back_for_their_frames() {
        let agent = AgentId::new(GroupId(1), 2);
        let events = vec![ExternalEvent { to: Recipient::Agent(agent), kind: 3, correlation: 4, payload: vec![5; 6] }];
        let commands = vec![Action::Agent(agent, LifecycleAction::Pause)];
        let swaps = vec![Swap::Module(ModuleSwap { group: GroupId(1), module: 7 })];
        let counts = EventCounts { delivered: 8, disabled: 9 };
        let inputs = FrameInputs { events, commands, swaps, models: ModelAnswers::Compute, counts };
        let frames = [(3, inputs), (5, FrameInputs::default())].map(|(frame, inputs)| StreamFrame { frame, inputs });
        let bytes = StreamFrame::encode(&frames);
        assert_eq!(StreamFrame::decode(&bytes).as_deref(), Some(&frames[..]));
        // The numbers of the first frame as they were always stored.
        assert_eq!((&bytes[..2], &bytes[bytes.len() - 11..]), (&[2, 3][..], &[7, 8, 9, 0, 5, 0, 0, 0, 0, 0, 0][..]));
        assert_eq!(StreamFrame::decode(&bytes[..bytes.len() - 1]), None);
        let mut inputs = StreamInputs::new(frames.to_vec());
        assert_eq!([2, 3, 3].map(|frame| inputs.of(frame).is_some()), [false, true, false]);
        assert_eq!([4, 6].map(|frame| inputs.of(frame).is_some()), [false, false], "frame 5 was passed over");
    }
}
