//! What the black-box tests share.

pub mod etcd;
pub mod proxy;
