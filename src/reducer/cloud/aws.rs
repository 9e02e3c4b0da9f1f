//! What an EC2 instance is asked, in three rounds, and what its answers mean (protocol 7, 15.5).
//!
//! ```text
//! round 1: id, zone, type, role, account, network cards
//! round 2: of each card its network, private, public and IPv6 addresses
//! round 3: of each public address the private one behind it
//! ```
//!
//! Invariants: an answer that has not the form of what was asked for is none; the questions of a
//! round are bounded. Absent here: requests, tokens, time.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
};

use serde_json::Value;

use super::{
    Address, CloudFacts, Interface, Platform,
    form::{self, Form},
};

/// Where a token is had.
pub const TOKEN_PATH: &str = "/latest/api/token";
/// More network cards than any instance has.
const MAX_CARDS: usize = 64;
/// More than any instance has to be asked in a round.
const MAX_QUESTIONS: usize = 512;

/// What is known of an instance so far.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    id: Option<String>,
    zone: Option<String>,
    kind: Option<String>,
    role: Option<String>,
    account: Option<String>,
    cards: Vec<Card>,
}

#[derive(Clone, Debug, Default)]
struct Card {
    mac: String,
    network: String,
    private: BTreeSet<Ipv4Addr>,
    public: BTreeMap<Ipv4Addr, Option<Ipv4Addr>>,
    v6: Vec<Ipv6Addr>,
}

/// Something to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where the answer is.
    pub path: String,
    asks: Asks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Id,
    Zone,
    Kind,
    Role,
    Account,
    Cards,
    Network(usize),
    Private(usize),
    Public(usize),
    V6(usize),
    Behind(usize, Ipv4Addr),
}

/// A step of the collection. What one round answers is what the next one asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// The instance itself.
    Instance,
    /// Its network cards.
    Cards,
    /// Their public addresses.
    Addresses,
}

impl Round {
    /// In this order.
    pub const ALL: [Self; 3] = [Self::Instance, Self::Cards, Self::Addresses];
}

impl Instance {
    /// What a round asks.
    pub fn questions(&self, round: Round) -> Vec<Question> {
        let of_instance = |path: &str, asks| Question {
            path: format!("/latest/{path}"),
            asks,
        };
        let of_card = |card: &Card, path: &str, asks| Question {
            path: format!(
                "/latest/meta-data/network/interfaces/macs/{}/{path}",
                card.mac
            ),
            asks,
        };
        let cards = self.cards.iter().enumerate();
        match round {
            Round::Instance => vec![
                of_instance("meta-data/instance-id", Asks::Id),
                of_instance("meta-data/placement/availability-zone", Asks::Zone),
                of_instance("meta-data/instance-type", Asks::Kind),
                of_instance("meta-data/iam/security-credentials/", Asks::Role),
                of_instance("dynamic/instance-identity/document", Asks::Account),
                of_instance("meta-data/network/interfaces/macs/", Asks::Cards),
            ],
            Round::Cards => cards
                .flat_map(|(at, card)| {
                    [
                        of_card(card, "vpc-id", Asks::Network(at)),
                        of_card(card, "local-ipv4s", Asks::Private(at)),
                        of_card(card, "public-ipv4s", Asks::Public(at)),
                        of_card(card, "ipv6s", Asks::V6(at)),
                    ]
                })
                .collect(),
            Round::Addresses => cards
                .flat_map(|(at, card)| {
                    card.public.keys().map(move |public| {
                        let path = format!("ipv4-associations/{public}");
                        of_card(card, &path, Asks::Behind(at, *public))
                    })
                })
                .take(MAX_QUESTIONS)
                .collect(),
        }
    }

    /// Takes an answer, if it has the form of one.
    pub fn answer(&mut self, question: &Question, text: &str) {
        let one = |form: Form| form.check(text).map(str::to_owned);
        match question.asks {
            Asks::Id => self.id = one(Form::InstanceId),
            Asks::Zone => self.zone = one(Form::Name),
            Asks::Kind => self.kind = one(Form::Name),
            // Of several roles the first is the instance's.
            Asks::Role => {
                let first = text.lines().next().unwrap_or_default();
                self.role = Form::Account.check(first).map(str::to_owned);
            }
            Asks::Account => self.account = account(text),
            Asks::Cards => {
                let cards = text.lines().filter_map(form::mac).take(MAX_CARDS);
                self.cards = cards
                    .map(|mac| Card {
                        mac: mac.to_owned(),
                        ..Card::default()
                    })
                    .collect();
            }
            Asks::Network(at) => self.with_card(at, |card| {
                let network = Form::Name.check(text.trim().trim_end_matches('/'));
                card.network = network.unwrap_or_default().to_owned();
            }),
            Asks::Private(at) => self.with_card(at, |card| card.private = addresses(text)),
            Asks::Public(at) => self.with_card(at, |card| {
                let public = addresses::<BTreeSet<_>, _>(text).into_iter();
                card.public = public.map(|one| (one, None)).collect();
            }),
            Asks::V6(at) => self.with_card(at, |card| card.v6 = addresses(text)),
            Asks::Behind(at, public) => self.with_card(at, |card| {
                // Several private addresses may share a public one; the first was sent.
                let private = addresses::<Vec<_>, _>(text).into_iter().next();
                card.public.insert(public, private);
            }),
        }
    }

    fn with_card(&mut self, at: usize, change: impl FnOnce(&mut Card)) {
        if let Some(card) = self.cards.get_mut(at) {
            change(card);
        }
    }

    /// Whether anything was said that only an instance says (protocol 15.5).
    pub fn is_one(&self) -> bool {
        let known = [&self.id, &self.zone, &self.role, &self.kind];
        known.into_iter().any(Option::is_some)
    }

    /// What the handshake carries of it.
    pub fn facts(&self) -> CloudFacts {
        let text = |one: &Option<String>| one.clone().unwrap_or_default();
        let id = text(&self.id);
        CloudFacts {
            platform: Platform::Aws,
            account_id: text(&self.account),
            zone: text(&self.zone),
            role: text(&self.role),
            instance_id: id.strip_prefix("i-").unwrap_or(&id).to_owned(),
            instance_type: text(&self.kind),
            interfaces: self.cards.iter().map(Card::interface).collect(),
        }
    }
}

impl Card {
    /// Addresses of IPv4 in the order of their texts, those of IPv6 as listed.
    fn interface(&self) -> Interface {
        let mapped = self.public.iter();
        let mapped = mapped.filter_map(|(public, private)| Some((*public, (*private)?)));
        let mut mapped: Vec<(Ipv4Addr, Ipv4Addr)> = mapped.collect();
        mapped.sort_by_key(|(public, _)| public.to_string());
        let is_behind = |one: &&Ipv4Addr| mapped.iter().any(|(_, private)| private == *one);
        let mut alone: Vec<Ipv4Addr> = self
            .private
            .iter()
            .filter(|one| !is_behind(one))
            .copied()
            .collect();
        alone.sort_by_key(Ipv4Addr::to_string);
        let alone = alone.into_iter().map(Address::Private);
        let v6 = self.v6.iter().copied().map(Address::V6);
        let mapped = mapped
            .into_iter()
            .map(|(public, private)| Address::Public { public, private });
        Interface {
            network: self.network.clone(),
            addresses: alone.chain(v6).chain(mapped).collect(),
        }
    }
}

/// The addresses of a list, one in a line; what is none is left out.
fn addresses<C: FromIterator<A>, A: std::str::FromStr>(text: &str) -> C {
    let lines = text.lines();
    lines.filter_map(|line| line.trim().parse().ok()).collect()
}

/// The account in an instance's identity document.
fn account(document: &str) -> Option<String> {
    let document: Value = serde_json::from_str(document).ok()?;
    let account = document.get("accountId")?.as_str()?;
    Form::Number.check(account).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks what `said` answers, by the ends of paths, in all rounds.
    fn asked(said: &[(&str, &str)]) -> Instance {
        let mut instance = Instance::default();
        for round in Round::ALL {
            for question in instance.questions(round) {
                let answer = said.iter().find(|(path, _)| question.path.ends_with(path));
                if let Some((_, text)) = answer {
                    instance.answer(&question, text);
                }
            }
        }
        instance
    }

    const DOCUMENT: &str = r#"{"accountId": "525339921445", "region": "us-east-1"}"#;

    #[test]
    fn an_instance_is_what_its_answers_say_with_addresses_in_the_order_of_their_texts() {
        let instance = asked(&[
            ("/instance-id", "i-0dcf0a95274953dff"),
            ("/availability-zone", "us-east-1a"),
            ("/instance-type", "m5.large"),
            ("/security-credentials/", "node-role"),
            ("/document", DOCUMENT),
            ("/macs/", "06:1a:b0:11:1b:a9/\n06:1a:b0:11:1b:aa/"),
            ("a9/vpc-id", "vpc-0c0b51c4bb3b0970f/"),
            ("a9/local-ipv4s", "172.31.9.1\n172.31.10.2\n172.31.54.211"),
            ("a9/public-ipv4s", "52.86.69.93\n3.1.1.1"),
            ("a9/ipv6s", "2001:db8::f\n2001:db8::1"),
            ("/ipv4-associations/52.86.69.93", "172.31.54.211"),
            ("aa/local-ipv4s", "172.31.0.7"),
        ]);
        assert!(instance.is_one());
        let ip = |text: &str| text.parse().unwrap();
        assert_eq!(
            instance.facts(),
            CloudFacts {
                platform: Platform::Aws,
                account_id: "525339921445".into(),
                zone: "us-east-1a".into(),
                role: "node-role".into(),
                instance_id: "0dcf0a95274953dff".into(),
                instance_type: "m5.large".into(),
                interfaces: vec![
                    Interface {
                        network: "vpc-0c0b51c4bb3b0970f".into(),
                        addresses: vec![
                            Address::Private(ip("172.31.10.2")),
                            Address::Private(ip("172.31.9.1")),
                            Address::V6("2001:db8::f".parse().unwrap()),
                            Address::V6("2001:db8::1".parse().unwrap()),
                            Address::Public {
                                public: ip("52.86.69.93"),
                                private: ip("172.31.54.211"),
                            },
                        ],
                    },
                    Interface {
                        network: String::new(),
                        addresses: vec![Address::Private(ip("172.31.0.7"))],
                    },
                ],
            }
        );
    }

    #[test]
    fn any_of_id_zone_role_and_type_makes_an_instance_and_nothing_else_does() {
        for (said, is_one) in [
            (("/instance-id", "i-0a"), true),
            (("/availability-zone", "us-east-1a"), true),
            (("/instance-type", "m5.large"), true),
            (("/security-credentials/", "role"), true),
            (("/document", DOCUMENT), false),
            (("/macs/", "06:1a:b0:11:1b:a9/"), false),
            (("/instance-id", "<html>welcome</html>"), false),
            (("/instance-type", "not found"), false),
        ] {
            assert_eq!(asked(&[said]).is_one(), is_one, "{said:?}");
        }
    }

    #[test]
    fn an_account_is_digits_in_a_document() {
        for (document, expected) in [
            (DOCUMENT, Some("525339921445")),
            (r#"{"accountId": 525339921445}"#, None),
            (r#"{"accountId": "<b>"}"#, None),
            (r#""{\"accountId\": \"525339921445\"}""#, None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(account(document).as_deref(), expected, "{document}");
        }
    }

    #[test]
    fn what_is_asked_is_bounded_whatever_is_answered() {
        let cards: Vec<String> = (0..1_000_u32)
            .map(|n| format!("06:00:00:00:{:02x}:{:02x}/", n / 256 % 256, n % 256))
            .collect();
        let public: Vec<String> = (0..600_u32)
            .map(|n| Ipv4Addr::from(n).to_string())
            .collect();
        let mut instance = Instance::default();
        for question in instance.questions(Round::Instance) {
            instance.answer(&question, &cards.join("\n"));
        }
        for question in instance.questions(Round::Cards) {
            instance.answer(&question, &public.join("\n"));
        }
        let asked = instance.questions(Round::Addresses).len();
        assert_eq!((asked, instance.cards.len()), (MAX_QUESTIONS, MAX_CARDS));
    }
}
