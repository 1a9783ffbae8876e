//! Calls that a handler makes: they end with the call that it answers, and continue its trace.

use chinwag_core::id::NodeId;

use crate::call::balanced::Balanced;
use crate::call::client::Client;
use crate::call::fan_out::FanOut;
use crate::call::target::Target;
use crate::serve::context::Context;
use crate::serve::service::Service;

impl Context {
    /// A client for nested calls. Whatever it is told about its timeout, its calls end when this
    /// one does; their spans are children of the handler's.
    pub fn client<S>(&self, peer: impl Into<NodeId>) -> Client<S> {
        Client::new(self.target(peer.into()))
    }

    /// [`Node::balanced`](crate::Node::balanced) for nested calls, which end as those of
    /// [`Context::client`] do. Each has a budget for retries of its own.
    pub fn balanced<S: Service>(&self) -> Balanced<S> {
        Balanced::new(self.target(self.shared().node.id))
    }

    /// [`Node::fan_out`](crate::Node::fan_out) for nested calls, which end as those of
    /// [`Context::client`] do, [kept](FanOut::keep_rest) ones too.
    pub fn fan_out<S: Service>(
        &self,
        members: impl IntoIterator<Item = impl Into<NodeId>>,
    ) -> FanOut<S> {
        FanOut::new(self.target(self.shared().node.id), members)
    }

    fn target(&self, peer: NodeId) -> Target {
        let mut target = Target::new(self.shared().clone(), peer, self.caller_number());
        target.trace = self.trace();
        target.deadline = self.deadline();
        target.depth = self.depth_within();
        target
    }
}
