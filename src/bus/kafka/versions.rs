//! Which version of each request a broker and this client both speak.

use super::error::{Api, Failure};
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::protocol::{Message, Request, VersionRange};
use std::collections::BTreeMap;

/// What a broker said it knows.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    broker: BTreeMap<Api, (i16, i16)>,
}

impl Versions {
    /// From the broker's answer.
    #[must_use]
    pub fn new(answer: &ApiVersionsResponse) -> Self {
        let broker = answer.api_keys.iter().map(|api| (Api(api.api_key), (api.min_version, api.max_version))).collect();
        Self { broker }
    }

    /// Whether the broker has not said anything yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.broker.is_empty()
    }

    /// The highest version both sides know.
    ///
    /// # Errors
    /// [`Failure::NoCommonVersion`]
    pub fn highest<R: Request>(&self) -> Result<i16, Failure> {
        // A request is of no use when its answer cannot be read.
        let answer = <R::Response as Message>::VERSIONS;
        self.highest_in::<R>(R::VERSIONS.intersect(&answer))
    }

    /// The highest version within `ours` that the broker knows.
    ///
    /// # Errors
    /// [`Failure::NoCommonVersion`]
    pub fn highest_in<R: Request>(&self, ours: VersionRange) -> Result<i16, Failure> {
        let api = Api(R::KEY);
        let broker = self.broker.get(&api).copied().unwrap_or((0, -1));
        let common = ours.intersect(&VersionRange { min: broker.0, max: broker.1 });
        match common.is_empty() {
            false => Ok(common.max),
            true => Err(Failure::NoCommonVersion { api, client: (ours.min, ours.max), broker }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::{MetadataRequest, ProduceRequest};

    fn broker(low: i16, high: i16) -> Versions {
        let api = ApiVersion::default().with_api_key(ProduceRequest::KEY).with_min_version(low).with_max_version(high);
        Versions::new(&ApiVersionsResponse::default().with_api_keys(vec![api]))
    }

    #[test]
    fn the_highest_common_version_is_taken() {
        assert_eq!(broker(0, 99).highest::<ProduceRequest>(), Ok(13));
        assert_eq!(broker(0, 7).highest::<ProduceRequest>(), Ok(7));
        assert_eq!(broker(3, 3).highest::<ProduceRequest>(), Ok(3));
    }

    #[test]
    fn a_broker_without_a_common_version_is_named_with_both_ranges() {
        let old = broker(0, 2).highest::<ProduceRequest>().unwrap_err();
        assert!(old.is_broker_too_old());
        assert_eq!(old.to_string(), "Produce: the broker knows versions 0 to 2, this client 3 to 13");
        let new = broker(14, 20).highest::<ProduceRequest>().unwrap_err();
        assert!(!new.is_broker_too_old());
        let without = broker(0, 9).highest::<MetadataRequest>().unwrap_err();
        assert_eq!(without.to_string(), "Metadata: the broker knows versions none, this client 0 to 13");
    }
}
