//! The published document, which anyone may write: once a plan is applied, the next plan keeps everything.

#![no_main]

use domain::credentials::Credentials;
use domain::documents::plan::{Attributes, Found, Plan, published};
use domain::documents::{Contents, Document, MergeContext, PublishedDocument};
use domain::documents::SinkKind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = |document| Found::File { document, attributes: Attributes::AS_SET };
    let found = file(Document::new(bytes.to_vec()));
    let by = MergeContext::default();
    let plan = |found: &Found| published(found, &Credentials::new(), "node-1", &by);
    if let Plan::Replace { document, .. } = plan(&found) {
        let (_, error) = PublishedDocument::read(&document);
        assert_eq!(error, None);
        assert!(matches!(plan(&file(document)), Plan::Keep));
    }
    let contents = Contents::read(&found, SinkKind::Hdfs);
    assert!(contents.held(&[], &Credentials::new()).is_empty());
    let (document, _) = PublishedDocument::read(&Document::new(bytes.to_vec()));
    let again = PublishedDocument::read(&document.render());
    assert_eq!(again, (document, None));
});
