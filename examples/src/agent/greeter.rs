//! [`Greeter`]: the service of the README's first program, so that it has somebody to call.

use chinwag::{Context, Handler, Message, Methods, Service, Status, View};

/// Says hello to a name.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(super) struct Hello {
    name: String,
}

impl Message for Hello {
    type Reply = String;
    const NAME: &'static str = "hello";
}

pub(super) struct Greeter;

impl Service for Greeter {
    const NAME: &'static str = "greeter";

    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Hello>();
    }
}

impl Handler<Hello> for Greeter {
    async fn handle(&self, _: &Context, hello: View<Hello>) -> Result<String, Status> {
        Ok(format!("Hello, {}!", hello.name))
    }
}
