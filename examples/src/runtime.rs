//! [`Kind`]: which runtime an example is on. The one place that names them all.

use std::future::Future;
use std::io;
use std::sync::Arc;

use chinwag::Runtime;
use chinwag_tokio::Tokio;
use clap::ValueEnum;

/// A runtime by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// tokio, on one thread
    Tokio,
    /// smol, on its global executor
    Smol,
    /// async-std
    AsyncStd,
}

impl Kind {
    /// All of them.
    pub const EVERY: [Self; 3] = [Self::Tokio, Self::Smol, Self::AsyncStd];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
            Self::AsyncStd => "async-std",
        }
    }

    /// Runs `main` on this thread, and what it spawns on the runtime.
    ///
    /// # Errors
    /// When the runtime does not start, or this program was built without the feature for it.
    pub fn block_on<F: Future>(
        self,
        main: impl FnOnce(Arc<dyn Runtime>) -> F,
    ) -> io::Result<F::Output> {
        match self {
            Self::Tokio => {
                // One thread is plenty for one node.
                let executor =
                    tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let runtime = Arc::new(Tokio::new(executor.handle().clone()));
                Ok(executor.block_on(main(runtime)))
            }
            // These two have threads of their own, so what waits here may wait on anything.
            #[cfg(feature = "smol")]
            Self::Smol => {
                Ok(futures_lite::future::block_on(main(Arc::new(chinwag_smol::Smol::new()))))
            }
            #[cfg(feature = "async-std")]
            Self::AsyncStd => Ok(futures_lite::future::block_on(main(Arc::new(
                chinwag_async_std::AsyncStd::new(),
            )))),
            #[cfg(not(all(feature = "smol", feature = "async-std")))]
            _ => {
                let name = self.name();
                Err(io::Error::other(format!(
                    "this program was built without its feature `{name}`"
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for kind in Kind::EVERY {
            let named = kind.to_possible_value().expect("none is hidden");
            assert_eq!(named.get_name(), kind.name());
        }
    }

    #[test]
    fn each_runs_what_is_spawned_on_it() {
        for kind in Kind::EVERY {
            let (sends, sent) = async_channel::bounded(1);
            let main = |runtime: Arc<dyn Runtime>| async move {
                runtime.spawn(Box::pin(async move { _ = sends.try_send(7) }));
                sent.recv().await
            };
            let is_built = match kind {
                Kind::Tokio => true,
                Kind::Smol => cfg!(feature = "smol"),
                Kind::AsyncStd => cfg!(feature = "async-std"),
            };
            match kind.block_on(main) {
                Ok(told) => assert_eq!((told, is_built), (Ok(7), true), "{kind:?}"),
                Err(error) => {
                    assert!(!is_built && error.to_string().contains(kind.name()), "{error}");
                }
            }
        }
    }
}
