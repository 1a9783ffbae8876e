//! [`Secret`]: what the members of a cluster have in common and nobody else has.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a secret.
const LEN: usize = 32;

/// A cluster's secret: 32 random bytes. Whoever has it is a member, and can speak for any member.
///
/// Its memory is overwritten when it is dropped, and `Debug` does not show it. In a file it is one
/// line of 64 hexadecimal digits.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; LEN]>);

/// Why there is no secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum SecretError {
    /// The file could not be read or written.
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others than its owner can read the file, or its group can write it.
    Permissions {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The text is not 64 hexadecimal digits. A passphrase is no secret.
    Format,
    /// The operating system gave no random bytes.
    NoRandomness,
}

impl Secret {
    /// A new secret, from the operating system's randomness.
    ///
    /// # Errors
    /// [`SecretError::NoRandomness`].
    pub fn generate() -> Result<Self, SecretError> {
        let mut bytes = Zeroizing::new([0; LEN]);
        SystemRandom::new().fill(&mut *bytes).map_err(|_| SecretError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// The secret with these bytes, which have to be random: they are used as they are.
    pub fn from_bytes(mut bytes: [u8; LEN]) -> Self {
        let secret = Self(Zeroizing::new(bytes));
        bytes.zeroize();
        secret
    }

    /// Reads what [`Secret::write_new`] has written. On Unix, a file that everybody can read, or
    /// that its group can write, is refused; of one that its group can read, the log warns.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SecretError> {
        let path = path.as_ref();
        check_mode(path)?;
        let read = fs::read_to_string(path);
        let text = Zeroizing::new(read.map_err(|error| of_file(path, error))?);
        text.parse()
    }

    /// Writes the secret to a new file that its owner alone can read.
    ///
    /// # Errors
    /// [`SecretError::File`], also when there is a file of this name.
    pub fn write_new(&self, path: impl AsRef<Path>) -> Result<(), SecretError> {
        let path = path.as_ref();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut line = Zeroizing::new(String::with_capacity(2 * LEN + 1));
        for byte in &*self.0 {
            for digit in [byte >> 4, byte & 0xf] {
                line.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        line.push('\n');
        let written = options.open(path).and_then(|mut file| {
            file.write_all(line.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| of_file(path, error))
    }

    pub(crate) fn bytes(&self) -> &[u8; LEN] {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    /// Reads 64 hexadecimal digits; white space around them is ignored.
    fn from_str(text: &str) -> Result<Self, SecretError> {
        let mut bytes = Zeroizing::new([0; LEN]);
        let digits = text.trim().as_bytes();
        if digits.len() != 2 * LEN {
            return Err(SecretError::Format);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            for &digit in pair {
                let value = char::from(digit).to_digit(16).ok_or(SecretError::Format)?;
                *byte = *byte << 4 | u8::try_from(value).map_err(|_| SecretError::Format)?;
            }
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

fn of_file(path: &Path, error: io::Error) -> SecretError {
    SecretError::File { path: path.to_owned(), error }
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), SecretError> {
    use std::os::unix::fs::PermissionsExt as _;
    // The file behind symbolic links, as a mounted secret is one.
    let metadata = fs::metadata(path).map_err(|error| of_file(path, error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o027 != 0 {
        return Err(SecretError::Permissions { path: path.to_owned(), mode });
    }
    if mode & 0o040 != 0 {
        tracing::warn!(
            target: "chinwag::security",
            "the secret in {} can be read by the group of the file", path.display()
        );
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_: &Path) -> Result<(), SecretError> {
    Ok(())
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "the secret in {}: {error}", path.display()),
            Self::Permissions { path, mode } => write!(
                f,
                "the secret in {} is open to others (mode {mode:03o}): chmod 600 it, and make a \
                 new secret if somebody may have read it",
                path.display()
            ),
            Self::Format => f.write_str(
                "a secret is one line of 64 hexadecimal digits, as `Secret::write_new` writes it",
            ),
            Self::NoRandomness => f.write_str("the operating system gave no random bytes"),
        }
    }
}

impl std::error::Error for SecretError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { error, .. } => Some(error),
            Self::Permissions { .. } | Self::Format | Self::NoRandomness => None,
        }
    }
}
