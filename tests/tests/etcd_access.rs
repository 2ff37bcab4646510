//! The etcd port against a real etcd that asks who is there.
#![allow(clippy::unwrap_used)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else comes fails the test"
)]

mod port;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Permission, PermissionType};
use port::{Client, Mirror, config, key, put};
use windlass::core::ids::Revision;
use windlass::core::keyspace::Range;
use windlass::core::store::{Answer, Call, LeaseAnswer, Refusal, TxnOutcome};
use windlass::store::etcd::{EtcdConfig, EtcdError, EtcdStore, Login, Tls};
use windlass_tests::certificates::Certificates;
use windlass_tests::etcd::Etcd;

/// Makes `root` and `user`, who may use the keys below `/ours/`, and switches logins on.
async fn with_logins(etcd: &Etcd) {
    let mut raw = etcd_client::Client::connect([etcd.endpoint()], None)
        .await
        .unwrap();
    for name in ["root", "user"] {
        raw.user_add(name, "secret", None).await.unwrap();
        raw.role_add(name).await.unwrap();
        raw.user_grant_role(name, name).await.unwrap();
    }
    let ours = Permission::new(PermissionType::Readwrite, "/ours/").with_prefix();
    raw.role_grant_permission("user", ours).await.unwrap();
    raw.auth_enable().await.unwrap();
}

fn as_user(etcd: &Etcd, folder: &Path, password: &str) -> EtcdConfig {
    let file = folder.join("password");
    fs::write(&file, format!("{password}\n")).unwrap();
    let mut config = config(etcd);
    "/ours".clone_into(&mut config.prefix);
    config.login = Some(Login {
        user: "user".to_owned(),
        password_file: file,
    });
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_a_password_can_do_everything_below_the_prefix() {
    let etcd = Etcd::start();
    with_logins(&etcd).await;
    let folder = tempfile::tempdir().unwrap();
    let store = EtcdStore::connect(as_user(&etcd, folder.path(), "secret")).await;
    let mut client = Client::new(&store.unwrap());
    let (lease, ttl) = client.grant(Duration::from_secs(30)).await;
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/w/"), key("/w0")));
    let at = client.committed(vec![], vec![put("/w/1", "1")]).await;
    mirror.reaches(&mut client, at).await;
    mirror.equals_the_store(&mut client).await;
    for _ in 0..2 {
        assert_eq!(
            client.ask(Call::Renew { lease }).await,
            Answer::Lease(LeaseAnswer::Live { lease, ttl })
        );
    }
    assert_eq!(
        client.ask(Call::Revoke { lease }).await,
        Answer::Lease(LeaseAnswer::Gone)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_etcd_forgot_is_renewed() {
    let mut etcd = Etcd::start();
    with_logins(&etcd).await;
    let folder = tempfile::tempdir().unwrap();
    let store = EtcdStore::connect(as_user(&etcd, folder.path(), "secret")).await;
    let mut client = Client::new(&store.unwrap());
    let (lease, ttl) = client.grant(Duration::from_secs(60)).await;
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/w/"), key("/w0")));
    mirror.reaches(&mut client, Revision(1)).await;
    // Simple tokens live in the memory of the server.
    etcd.restart();
    let at = client.eventually_committed(vec![put("/w/1", "1")]).await;
    mirror.reaches(&mut client, at).await;
    assert_eq!(
        client.ask(Call::Renew { lease }).await,
        Answer::Lease(LeaseAnswer::Live { lease, ttl })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_login_that_is_over_or_older_than_the_users_is_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let made = Certificates::make(folder.path());
    let [_, cert, key_file] = made.paths();
    let token = format!("jwt,pub-key={cert},priv-key={key_file},sign-method=ES256,ttl=2s");
    let etcd = Etcd::start_with("http", &["--auth-token", &token]);
    with_logins(&etcd).await;
    let store = EtcdStore::connect(as_user(&etcd, folder.path(), "secret")).await;
    let mut client = Client::new(&store.unwrap());
    let (lease, ttl) = client.grant(Duration::from_secs(60)).await;
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/w/"), key("/w0")));
    mirror.reaches(&mut client, Revision(1)).await;
    let options = etcd_client::ConnectOptions::new().with_user("root", "secret");
    let mut root = etcd_client::Client::connect([etcd.endpoint()], Some(options))
        .await
        .unwrap();
    // It never logs in again, so it tells when a login of that age is over.
    while root.get("/", None).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let at = client.committed(vec![], vec![put("/w/1", "1")]).await;
    mirror.reaches(&mut client, at).await;
    root.refresh_token().await.unwrap();
    root.user_add("another", "secret", None).await.unwrap();
    let at = client.committed(vec![], vec![put("/w/2", "2")]).await;
    mirror.reaches(&mut client, at).await;
    assert_eq!(
        client.ask(Call::Renew { lease }).await,
        Answer::Lease(LeaseAnswer::Live { lease, ttl })
    );
    mirror.equals_the_store(&mut client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_is_a_refusal() {
    let etcd = Etcd::start();
    with_logins(&etcd).await;
    let folder = tempfile::tempdir().unwrap();
    let store = EtcdStore::connect(as_user(&etcd, folder.path(), "secret")).await;
    let mut client = Client::new(&store.unwrap());
    let options = etcd_client::ConnectOptions::new().with_user("root", "secret");
    let mut root = etcd_client::Client::connect([etcd.endpoint()], Some(options))
        .await
        .unwrap();
    root.user_revoke_role("user", "user").await.unwrap();
    assert_eq!(
        client.commit(vec![], vec![put("/w/1", "1")]).await,
        TxnOutcome::Refused(Refusal::Denied)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_login_is_said() {
    let etcd = Etcd::start();
    let folder = tempfile::tempdir().unwrap();
    let user = as_user(&etcd, folder.path(), "secret");
    let error = EtcdStore::connect(user.clone()).await.unwrap_err();
    assert!(
        matches!(error, EtcdError::Login { .. }),
        "no users: {error}"
    );
    with_logins(&etcd).await;
    let error = EtcdStore::connect(config(&etcd)).await.unwrap_err();
    assert!(matches!(error, EtcdError::Login { .. }), "no user: {error}");
    let mut elsewhere = user.clone();
    "/theirs".clone_into(&mut elsewhere.prefix);
    let error = EtcdStore::connect(elsewhere).await.unwrap_err();
    assert!(
        matches!(&error, EtcdError::Denied { prefix, .. } if prefix == "/theirs"),
        "{error}"
    );
    let wrong = as_user(&etcd, folder.path(), "wrong");
    let error = EtcdStore::connect(wrong).await.unwrap_err();
    assert!(
        matches!(error, EtcdError::Login { .. }),
        "password: {error}"
    );
    let mut nowhere = user;
    nowhere.login.as_mut().unwrap().password_file = folder.path().join("none");
    let error = EtcdStore::connect(nowhere).await.unwrap_err().to_string();
    assert!(error.contains("none"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_asked_for_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let made = Certificates::make(folder.path());
    let [ca_text, cert_text, key_text] = made.paths();
    let etcd = Etcd::start_with(
        "https",
        &[
            "--client-cert-auth",
            "--trusted-ca-file",
            ca_text,
            "--cert-file",
            cert_text,
            "--key-file",
            key_text,
        ],
    );
    let with = |ca: Option<&PathBuf>, identity: Option<(PathBuf, PathBuf)>| {
        let mut config = config(&etcd);
        config.patience = Duration::from_secs(10);
        config.tls = Some(Tls {
            ca: ca.cloned(),
            identity,
        });
        config
    };
    let Certificates { ca, cert, key } = &made;
    let identity = Some((cert.clone(), key.clone()));
    let store = EtcdStore::connect(with(Some(ca), identity.clone())).await;
    let mut client = Client::new(&store.unwrap());
    client.committed(vec![], vec![put("/a", "1")]).await;
    for (ca, identity, fault) in [
        (None, identity, "a server whose authority is unknown"),
        (Some(ca), None, "a client that shows no certificate"),
    ] {
        let error = EtcdStore::connect(with(ca, identity)).await.unwrap_err();
        assert!(
            matches!(error, EtcdError::Unreachable { .. }),
            "{fault}: {error}"
        );
        assert!(!error.to_string().contains("silent"), "{fault}: {error}");
    }
}
