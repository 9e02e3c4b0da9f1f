//! What goes wrong, as it was scripted.

use super::*;

#[tokio::test]
async fn faults_hit_the_requests_they_were_scripted_for() {
    let (api, client) = small().await;
    let list = ListParams::default();
    api.fault(When::list().of(Kind::POD).once(), Fault::code(500));
    assert_eq!(code(pods(&client).list(&list).await), 500);
    api.fault(When::list().once(), Fault::Garbage(b"<html>".to_vec()));
    assert!(matches!(
        pods(&client).list(&list).await,
        Err(Error::SerdeError(_))
    ));
    api.fault(When::watch().once(), Fault::status(&Status::of_code(410)));
    assert_eq!(
        code(
            pods(&client)
                .watch(&WatchParams::default(), "1")
                .await
                .map(drop)
        ),
        410
    );
    api.fault(When::watch().once(), Fault::gone_in_stream());
    let mut events = watch(&client, &WatchParams::default(), 1).await;
    assert_eq!(next(&mut events).await, "error 410 Expired");
    api.fault(When::watch().once(), Fault::NoEvents);
    let mut events = watch(&client, &WatchParams::default(), 1).await;
    assert_eq!(next(&mut events).await, "end");
    let silent = api.fault(When::list(), Fault::Silence);
    let all = pods(&client);
    let mut waiting = Box::pin(all.list(&list));
    tokio::select! {
        _ = &mut waiting => panic!("it was answered"),
        () = must("the request", api.wait_until(|book| book.count(Kind::POD, Sort::List) == 3)) => {}
    }
    drop(waiting);
    api.cancel(silent);
    assert_eq!(pods(&client).list(&list).await.unwrap().items.len(), 12);
    let codes = api.requests(|book| {
        book.of(Kind::POD, Sort::List)
            .map(|r| r.code)
            .collect::<Vec<_>>()
    });
    assert_eq!(codes, [Some(500), Some(200), None, Some(200)]);
}

#[tokio::test]
async fn answers_are_cut_at_the_byte_and_in_the_way_that_was_asked_for() {
    for (how, end) in [
        (Cut::Clean, "complete"),
        (Cut::Truncated, "cut short"),
        (Cut::Reset, "reset"),
    ] {
        let (api, _) = small().await;
        api.fault(When::list(), Fault::Cut(1_000, how));
        let (body, found) = raw::body_and_end(&api, "/api/v1/pods").await;
        assert_eq!((body.len(), found), (1_000, end), "{how:?}");
    }
}

#[tokio::test]
async fn connections_are_refused_reset_and_accepted_again() {
    let (api, client) = small().await;
    let mut events = watch(&client, &WatchParams::default(), api.version()).await;
    api.stop_listening().await;
    api.apply(Pod::new("a", "one", "u"));
    assert_eq!(next(&mut events).await, "added one");
    api.reset_connections();
    let broken = pods(&client).list(&ListParams::default()).await;
    assert!(
        matches!(broken, Err(Error::HyperError(_) | Error::Service(_))),
        "{broken:?}"
    );
    api.start_listening().await.unwrap();
    let (_, client) = (
        api.addr(),
        Client::try_from(api.config().await.unwrap()).unwrap(),
    );
    assert_eq!(
        pods(&client)
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        13
    );
}

#[tokio::test]
async fn a_denied_kind_is_forbidden_and_the_others_are_not() {
    let (api, client) = small().await;
    api.deny(Kind::JOB);
    let jobs: Api<Job> = Api::namespaced(client.clone(), "shop");
    let Err(Error::Api(status)) = jobs.list(&ListParams::default()).await else {
        panic!("it was let in");
    };
    assert_eq!(
        status.message,
        "jobs.batch is forbidden: User \"system:serviceaccount:default:k8s-relay\" cannot list \
         resource \"jobs\" in API group \"batch\" in the namespace \"shop\""
    );
    assert_eq!(
        pods(&client)
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        12
    );
    api.allow(Kind::JOB);
    assert!(
        jobs.list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn a_server_that_streams_no_lists_says_422_and_one_that_never_heard_of_it_marks_no_end() {
    let (api, client) = small().await;
    let params = WatchParams::default().initial_events();
    api.set_watch_list(false);
    assert_eq!(code(pods(&client).watch(&params, "0").await.map(drop)), 422);
    api.set_watch_list(true);
    api.fault(When::watch_list(), Fault::IgnoreInitialEvents);
    let mut events = watch(&client, &params, 0).await;
    for _ in 0..12 {
        assert!(next(&mut events).await.starts_with("added "));
    }
    api.apply(Pod::new("a", "one", "u"));
    assert_eq!(next(&mut events).await, "added one");
}
