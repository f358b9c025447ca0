//! Which events are said and which are one too many: an object that says much says little more, and what differs only in its
//! words becomes one (upstream: client-go's tools/record/events_cache.go, with its numbers).

use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeSet, HashMap};

/// Events about one object in a row.
const BURST: u32 = 25;
/// One more is given after so long.
const REFILL: SignedDuration = SignedDuration::from_secs(300);
/// So many that differ only in their words are said one by one.
const SIMILAR: usize = 10;
/// Similar ones are not similar any more after so long without another.
const FORGOTTEN: SignedDuration = SignedDuration::from_secs(600);
/// Objects that are remembered; past it all begin anew.
const REMEMBERED: usize = 4096;

/// What was said lately.
#[derive(Default)]
pub struct Flood {
    /// By the object's UID.
    left: HashMap<String, Left>,
    /// Words, by UID, kind and reason.
    words: HashMap<(String, &'static str, String), Words>,
}

struct Left {
    events: u32,
    /// When the last one was given back.
    since: Timestamp,
}

struct Words {
    said: BTreeSet<String>,
    last: Timestamp,
}

impl Flood {
    /// How to say it; nothing for one too many.
    pub fn judge(
        &mut self,
        uid: &str,
        kind: &'static str,
        reason: &str,
        message: String,
        now: Timestamp,
    ) -> Option<String> {
        if self.left.len().max(self.words.len()) >= REMEMBERED {
            *self = Self::default();
        }
        let message = self.combined((uid.to_owned(), kind, reason.to_owned()), message, now);
        let left = self.left.entry(uid.to_owned()).or_insert(Left {
            events: BURST,
            since: now,
        });
        while left.events < BURST && now.duration_since(left.since) >= REFILL {
            left.events += 1;
            left.since += REFILL;
        }
        if left.events == BURST {
            left.since = now;
        }
        left.events = left.events.checked_sub(1)?;
        Some(message)
    }

    fn combined(&mut self, key: (String, &'static str, String), message: String, now: Timestamp) -> String {
        let words = self.words.entry(key).or_insert_with(|| Words {
            said: BTreeSet::new(),
            last: now,
        });
        if now.duration_since(words.last) > FORGOTTEN {
            words.said.clear();
        }
        words.last = now;
        words.said.insert(message.clone());
        if words.said.len() < SIMILAR {
            return message;
        }
        words.said.pop_first();
        format!("(combined from similar events): {message}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_object_says_twenty_five_and_one_more_every_five_minutes() {
        let mut flood = Flood::default();
        let mut say = |uid: &str, second: i64| {
            flood
                .judge(uid, "Warning", "Unhealthy", "no".to_owned(), at(second))
                .is_some()
        };
        let said = (0..100).filter(|second| say("a", *second)).count();
        assert_eq!(said, 25);
        assert!(say("b", 100), "another object has its own");
        assert!(!say("a", 299) && say("a", 300) && !say("a", 599) && say("a", 600));
    }

    #[test]
    fn what_differs_only_in_its_words_becomes_one() {
        let mut flood = Flood::default();
        let mut say = |words: usize, second: i64| {
            let said = flood.judge("a", "Warning", "Unhealthy", format!("no {words}"), at(second));
            said.unwrap()
        };
        let said: Vec<String> = (0..12).map(|nth| say(nth, 1)).collect();
        assert_eq!(
            (said[8].as_str(), said[9].as_str()),
            ("no 8", "(combined from similar events): no 9")
        );
        assert_eq!(say(50, 602), "no 50");
    }
}
