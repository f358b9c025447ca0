//! Waiting for a condition, never for time: every wait has a deadline and says at its end what it last saw.

use anyhow::bail;
use std::time::{Duration, Instant};

/// Short against everything waited for, long against what a look costs.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Look until `look` gives something; its `Err` says what is still missing. After `deadline` that is the error.
pub fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Result<T, String>) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        let missing = match look() {
            Ok(found) => return Ok(found),
            Err(missing) => missing,
        };
        if start.elapsed() >= deadline {
            bail!("waited {:.0?} for {what}: {missing}", start.elapsed());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_look_is_the_error() {
        let error = until("rain", Duration::ZERO, || Err::<(), _>("blue sky".to_owned())).unwrap_err();
        assert!(error.to_string().ends_with("for rain: blue sky"), "{error}");
    }

    #[test]
    fn looks_again() {
        let mut looks = 0;
        let found = until("the third", Duration::from_secs(5), || {
            looks += 1;
            if looks == 3 {
                Ok(looks)
            } else {
                Err("not yet".to_owned())
            }
        });
        assert_eq!(found.unwrap(), 3);
    }
}
