//! [`Echo`]: the one service of an agent. It says back what it is told, and when it was told.

use chinwag::{Clock, Context, Handler, Message, Methods, Service, Status, View};

pub(super) struct Echo {
    clock: Clock,
}

impl Echo {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

#[derive(rkyv::Archive, rkyv::Serialize)]
pub(super) struct Say {
    pub(super) text: String,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
pub(super) struct Said {
    pub(super) text: String,
    /// A [`Timestamp`](chinwag::Timestamp) of the member that was told.
    pub(super) stamp: u64,
}

impl Message for Say {
    type Reply = Said;
    const NAME: &'static str = "say";
}

impl Service for Echo {
    const NAME: &'static str = "echo";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Say>();
    }
}

impl Handler<Say> for Echo {
    async fn handle(&self, _: &Context, say: View<Say>) -> Result<Said, Status> {
        Ok(Said { text: say.text.as_str().to_owned(), stamp: self.clock.now().get() })
    }
}
