//! An etcd with the users of `deploy/etcd-roles.sh`, nodes that log in as them, and bare clients that do.

use std::fs;
use std::path::Path;
use std::process::Command;

use etcd_client::{
    Certificate, Client, ConnectOptions, DeleteOptions, Error, GetOptions, Identity, PutOptions,
    TlsOptions, Txn, TxnOp, WatchOptions,
};
use tempfile::TempDir;
use tonic::Status;
use windlass::core::keyspace::Range;
use windlass::store::etcd::{EtcdConfig, Login};
use windlass_tests::certificates::Certificates;
use windlass_tests::etcd::Etcd;
use windlass_tests::process::Process;

/// How large etcd's file may become: unlike what nodes believe that nobody told.
pub(crate) const QUOTA: u64 = 512 * 1_024 * 1_024;

/// How nodes and etcd know each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Unencrypted, by password.
    Password,
    /// Encrypted, by certificates and by password.
    Certificates,
}

/// An etcd that asks who is there.
pub(crate) struct Rig {
    etcd: Etcd,
    certificates: Option<Certificates>,
    folder: TempDir,
}

impl Rig {
    pub(crate) fn start(way: Way) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = (way == Way::Certificates).then(|| Certificates::make(folder.path()));
        let quota = QUOTA.to_string();
        let quota = ["--quota-backend-bytes", &quota];
        let etcd = match &certificates {
            None => Etcd::start_with("http", &quota),
            Some(made) => {
                let [ca, cert, key] = made.paths();
                let args = [
                    "--trusted-ca-file",
                    ca,
                    "--cert-file",
                    cert,
                    "--key-file",
                    key,
                ];
                let asked = ["--client-cert-auth"];
                Etcd::start_with("https", &[&quota[..], &asked, &args].concat())
            }
        };
        let rig = Self {
            etcd,
            certificates,
            folder,
        };
        for user in ["root", "scheduler", "fleet", "worker-w1"] {
            fs::write(rig.folder.path().join(user), format!("secret-of-{user}\n")).unwrap();
        }
        rig.roles(&["root", &rig.password("root")]);
        rig.roles(&["scheduler", "scheduler", &rig.password("scheduler")]);
        rig.roles(&["worker", "fleet", &rig.password("fleet")]);
        let one = rig.password("worker-w1");
        rig.roles(&["worker", "worker-w1", &one, "--id", "w1"]);
        // Again: it is safe.
        rig.roles(&["worker", "worker-w1", &one, "--id", "w1"]);
        rig.roles(&["enable"]);
        rig
    }

    pub(crate) fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    fn password(&self, user: &str) -> String {
        self.folder.path().join(user).to_str().unwrap().to_owned()
    }

    /// Runs the script that operators run.
    fn roles(&self, args: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/etcd-roles.sh");
        let tool = windlass_tests::etcd::tool("etcdctl");
        let mut etcdctl = format!("{} --endpoints {}", tool.display(), self.etcd.endpoint());
        if let Some(made) = &self.certificates {
            let [ca, cert, key] = made.paths();
            etcdctl += &format!(" --cacert {ca} --cert {cert} --key {key}");
        }
        let output = Command::new("bash")
            .arg(script)
            .args(args)
            .env("ETCDCTL", etcdctl)
            .env_remove("PREFIX")
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
    }

    fn access(&self, user: &str) -> Vec<String> {
        let file = self.password(user);
        let mut args = vec![
            "--etcd-user",
            user,
            "--etcd-password-file",
            &file,
            "--ttl",
            "3s",
        ];
        if let Some(made) = &self.certificates {
            let [ca, cert, key] = made.paths();
            args.extend(["--etcd-ca", ca, "--etcd-cert", cert, "--etcd-key", key]);
        }
        args.into_iter().map(str::to_owned).collect()
    }

    /// A scheduler.
    pub(crate) fn scheduler(&self) -> Process {
        let access = self.access("scheduler");
        let access: Vec<&str> = access.iter().map(String::as_str).collect();
        Process::scheduler(&self.etcd, "s1", &access)
    }

    /// A worker that logs in as `user`.
    pub(crate) fn worker(&self, id: &str, user: &str, more: &[&str]) -> Process {
        let access = self.access(user);
        let access: Vec<&str> = access.iter().map(String::as_str).collect();
        let brief = ["--drain-grace", "1s"];
        Process::worker(&self.etcd, id, &[&access[..], &brief, more].concat())
    }

    /// How a worker in this process gets in as `user`.
    pub(crate) fn config(&self, user: &str, probe: Range) -> EtcdConfig {
        let mut config = EtcdConfig::new([self.etcd.endpoint()]);
        config.login = Some(Login {
            user: user.to_owned(),
            password_file: self.password(user).into(),
        });
        config.probe = probe;
        config
    }

    /// A bare client of etcd.
    pub(crate) fn as_user(&self, user: &str) -> Raw {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let password = format!("secret-of-{user}");
        let mut options = ConnectOptions::new().with_user(user, password);
        if let Some(made) = &self.certificates {
            let [ca, cert, key] = made.paths().map(|path| fs::read_to_string(path).unwrap());
            let tls = TlsOptions::new()
                .ca_certificate(Certificate::from_pem(ca))
                .identity(Identity::from_pem(cert, key));
            options = options.with_tls(tls);
        }
        let client = runtime.block_on(Client::connect([self.etcd.endpoint()], Some(options)));
        Raw {
            client: client.unwrap(),
            runtime,
        }
    }
}

/// A client that may ask etcd for anything.
pub(crate) struct Raw {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Raw {
    pub(crate) fn put(&mut self, key: &str) -> Result<(), Error> {
        let done = self.runtime.block_on(self.client.put(key, "{}", None));
        done.map(drop)
    }

    pub(crate) fn delete(&mut self, key: &str) -> Result<(), Error> {
        let done = self.runtime.block_on(self.client.delete(key, None));
        done.map(drop)
    }

    pub(crate) fn get(&mut self, key: &str) -> Result<(), Error> {
        self.runtime.block_on(self.client.get(key, None)).map(drop)
    }

    pub(crate) fn get_range(&mut self, from: &str, to: &str) -> Result<(), Error> {
        let options = Some(GetOptions::new().with_range(to));
        self.runtime
            .block_on(self.client.get(from, options))
            .map(drop)
    }

    pub(crate) fn put_for_the_former_value(&mut self, key: &str) -> Result<(), Error> {
        let options = Some(PutOptions::new().with_prev_key());
        let done = self.runtime.block_on(self.client.put(key, "{}", options));
        done.map(drop)
    }

    pub(crate) fn delete_for_the_former_value(&mut self, key: &str) -> Result<(), Error> {
        let options = Some(DeleteOptions::new().with_prev_key());
        let done = self.runtime.block_on(self.client.delete(key, options));
        done.map(drop)
    }

    pub(crate) fn put_in_txn(&mut self, key: &str) -> Result<(), Error> {
        self.commit(Txn::new().and_then([TxnOp::put(key, "{}", None)]))
    }

    pub(crate) fn put_in_nested_txn(&mut self, key: &str) -> Result<(), Error> {
        let inner = Txn::new().and_then([TxnOp::put(key, "{}", None)]);
        self.commit(Txn::new().and_then([TxnOp::txn(inner)]))
    }

    pub(crate) fn get_in_nested_txn(&mut self, key: &str) -> Result<(), Error> {
        let inner = Txn::new().and_then([TxnOp::get(key, None)]);
        self.commit(Txn::new().and_then([TxnOp::txn(inner)]))
    }

    fn commit(&mut self, txn: Txn) -> Result<(), Error> {
        self.runtime.block_on(self.client.txn(txn)).map(drop)
    }

    /// Watches a key, or all from it up to `to`.
    pub(crate) fn watch(&mut self, from: &str, to: Option<&str>) -> Result<(), Error> {
        let options = to.map(|to| WatchOptions::new().with_range(to));
        let client = &mut self.client;
        self.runtime.block_on(async {
            let mut stream = client.watch(from, options).await?;
            let told = stream.message().await?.expect("etcd answers a watch");
            match told.canceled() {
                true => Err(Status::permission_denied(told.cancel_reason()).into()),
                false => Ok(()),
            }
        })
    }

    pub(crate) fn add_user(&mut self) -> Result<(), Error> {
        let done = self.runtime.block_on(self.client.user_add("x", "y", None));
        done.map(drop)
    }

    /// Compacts the history up to now.
    pub(crate) fn compact(&mut self) -> Result<(), Error> {
        let at = self
            .runtime
            .block_on(self.client.put("/tasks/now", "", None))?;
        let at = at.header().unwrap().revision();
        self.runtime
            .block_on(self.client.compact(at, None))
            .map(drop)
    }

    pub(crate) fn revoke(&mut self, lease: i64) -> Result<(), Error> {
        self.runtime
            .block_on(self.client.lease_revoke(lease))
            .map(drop)
    }

    /// The lease that a key hangs on.
    pub(crate) fn lease_of(&mut self, key: &str) -> i64 {
        let answer = self.runtime.block_on(self.client.get(key, None)).unwrap();
        let lease = answer.kvs()[0].lease();
        assert_ne!(lease, 0, "{key} is leased");
        lease
    }
}

/// Fails unless etcd said that this is not allowed.
#[track_caller]
pub(crate) fn denied(what: &str, answer: Result<(), Error>) {
    match answer {
        Err(Error::GRpcStatus(status)) if status.code() as i32 == PERMISSION_DENIED => {}
        Err(other) => panic!("{what}: {other}"),
        Ok(()) => panic!("{what} was allowed"),
    }
}

/// gRPC's own number for it.
const PERMISSION_DENIED: i32 = 7;
