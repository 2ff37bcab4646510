//! What an operator, good or bad, does to etcd: asked by way of the bridge, which nothing cuts.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, bail};
use etcd_client::{
    AlarmAction, AlarmType, Client, CompactionOptions, ConnectOptions, GetOptions, MemberAddOptions,
};
use tokio::runtime::Runtime;

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a defragmentation may take, which stops the member for as long.
const DEFRAG_MAX: Duration = Duration::from_secs(30);

/// Asks members.
#[derive(Debug)]
pub struct Store {
    runtime: Runtime,
    endpoints: Vec<String>,
}

/// A client of one member.
///
/// # Errors
/// When it cannot be reached.
pub(crate) async fn client(endpoint: &str) -> anyhow::Result<Client> {
    let options = ConnectOptions::new()
        .with_connect_timeout(Duration::from_secs(2))
        .with_keep_alive(Duration::from_secs(2), Duration::from_secs(3));
    Ok(Client::connect([endpoint], Some(options)).await?)
}

async fn within<T>(
    patience: Duration,
    question: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let answer = tokio::time::timeout(patience, question).await;
    answer.context("etcd does not answer")?
}

impl Store {
    /// Asks these.
    ///
    /// # Errors
    /// When no runtime can be made.
    pub fn new(endpoints: Vec<String>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        Ok(Self { runtime, endpoints })
    }

    fn ask<T>(
        &self,
        patience: Duration,
        question: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        self.runtime.block_on(within(patience, question))
    }

    /// Asks the members one after the other, until one answers.
    fn ask_any<T, F>(&self, question: impl Fn(String) -> F) -> anyhow::Result<T>
    where
        F: Future<Output = anyhow::Result<T>>,
    {
        let mut errors = Vec::new();
        for endpoint in &self.endpoints {
            match self.ask(PATIENCE, question(endpoint.clone())) {
                Ok(answer) => return Ok(answer),
                Err(error) => errors.push(format!("{endpoint}: {error:#}")),
            }
        }
        bail!("no member answers: {}", errors.join("; "))
    }

    /// Which member leads, as one of them knows.
    ///
    /// # Errors
    /// When nobody answers, or none leads.
    pub fn leader(&self) -> anyhow::Result<usize> {
        let ids: Vec<Option<(u64, u64)>> = self
            .endpoints
            .iter()
            .map(|endpoint| {
                let status = self.ask(Duration::from_secs(1), async {
                    let status = client(endpoint).await?.status().await?;
                    let id = status.header().map(|it| it.member_id()).unwrap_or_default();
                    Ok((id, status.leader()))
                });
                status.ok()
            })
            .collect();
        let leads = |it: &Option<(u64, u64)>| it.is_some_and(|(id, leader)| id == leader);
        ids.iter().position(leads).context("no member leads")
    }

    /// Whether a member takes part: it answers what only all together can.
    ///
    /// # Errors
    /// When it does not.
    pub fn is_well(&self, member: usize) -> anyhow::Result<()> {
        self.ask(Duration::from_secs(2), async {
            client(&self.endpoints[member])
                .await?
                .get("/", None)
                .await?;
            Ok(())
        })
    }

    /// Compacts up to a revision.
    ///
    /// # Errors
    /// When nobody does.
    pub fn compact(&self, revision: i64) -> anyhow::Result<()> {
        self.ask_any(|endpoint| async move {
            let options = Some(CompactionOptions::new().with_physical());
            match client(&endpoint).await?.compact(revision, options).await {
                Ok(_) => Ok(()),
                // Somebody else was faster.
                Err(error) if error.to_string().contains("compacted") => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Has a member tidy its file, for which it stops everything else.
    ///
    /// # Errors
    /// When it does not.
    pub fn defragment(&self, member: usize) -> anyhow::Result<()> {
        self.ask(DEFRAG_MAX, async {
            client(&self.endpoints[member]).await?.defragment().await?;
            Ok(())
        })
    }

    /// Every lease there is.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn leases(&self) -> anyhow::Result<Vec<i64>> {
        self.ask_any(|endpoint| async move {
            let answer = client(&endpoint).await?.leases().await?;
            Ok(answer.leases().iter().map(|it| it.id()).collect())
        })
    }

    /// Whether a lease is over, as the leader knows.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn is_over(&self, lease: i64) -> anyhow::Result<bool> {
        self.ask_any(|endpoint| async move {
            let answer = client(&endpoint)
                .await?
                .lease_time_to_live(lease, None)
                .await;
            Ok(answer?.ttl() < 0)
        })
    }

    /// Ends a lease before its time.
    ///
    /// # Errors
    /// When nobody does.
    pub fn revoke(&self, lease: i64) -> anyhow::Result<()> {
        self.ask_any(|endpoint| async move {
            client(&endpoint).await?.lease_revoke(lease).await?;
            Ok(())
        })
    }

    /// Has the whole cluster refuse writes as if its quota were spent, or ends that.
    ///
    /// # Errors
    /// When nobody does.
    pub fn no_space(&self, on: bool) -> anyhow::Result<()> {
        self.ask_any(|endpoint| async move {
            let mut client = client(&endpoint).await?;
            let action = match on {
                true => AlarmAction::Activate,
                false => AlarmAction::Deactivate,
            };
            // Each member raises its own: all of them are taken back.
            let members = client.member_list().await?;
            for member in members.members() {
                let mut options = etcd_client::AlarmOptions::new();
                options.with_member(member.id());
                client
                    .alarm(action, AlarmType::Nospace, Some(options))
                    .await?;
            }
            Ok(())
        })
    }

    /// Takes a member out of the cluster, and a new one in its place.
    ///
    /// # Errors
    /// When nobody does.
    pub fn replace(&self, name: &str, peer: &str) -> anyhow::Result<()> {
        self.ask_any(|endpoint| async move {
            let mut client = client(&endpoint).await?;
            let members = client.member_list().await?;
            let old = members.members().iter().find(|it| it.name() == name);
            if let Some(old) = old {
                client.member_remove(old.id()).await?;
            }
            let there = client.member_list().await?;
            let is_there = |it: &etcd_client::Member| it.peer_urls().iter().any(|url| url == peer);
            if !there.members().iter().any(is_there) {
                let options: Option<MemberAddOptions> = None;
                client.member_add([peer], options).await?;
            }
            Ok(())
        })
    }

    /// The keys below a prefix.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn keys(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        self.ask_any(|endpoint| async move {
            let options = GetOptions::new().with_prefix().with_keys_only();
            let answer = client(&endpoint).await?.get(prefix, Some(options)).await?;
            let keys = answer.kvs().iter();
            Ok(keys
                .filter_map(|it| it.key_str().ok().map(str::to_owned))
                .collect())
        })
    }

    /// The newest revision.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn revision(&self) -> anyhow::Result<i64> {
        self.ask_any(|endpoint| async move {
            let answer = client(&endpoint).await?.get("/", None).await?;
            answer
                .header()
                .map(|it| it.revision())
                .context("an answer has a header")
        })
    }

    /// The size of each member's file, in bytes, as far as they tell.
    pub fn sizes(&self) -> Vec<i64> {
        let size = |endpoint: &String| {
            self.ask(Duration::from_secs(2), async {
                Ok(client(endpoint).await?.status().await?.db_size())
            })
        };
        self.endpoints
            .iter()
            .filter_map(|it| size(it).ok())
            .collect()
    }
}
