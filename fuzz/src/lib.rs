//! What chinwag's fuzz targets do with their bytes.
pub mod connection_bytes;
pub mod connection_ops;
pub mod datagram;
pub mod forge;
pub mod hlc;
pub mod input;
pub mod packet;
pub mod stream;
pub mod view;
pub mod wire_roundtrip;
