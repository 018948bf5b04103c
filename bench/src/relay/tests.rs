//! The relay between real sockets. The bands are wide upwards: other tests take the CPU meanwhile.

use super::*;

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Answers every connection with `bytes` zeros as soon as one byte has come, then closes.
async fn server(bytes: usize) -> SocketAddr {
    let listener = TcpListener::bind(ANYWHERE).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut asked = [0];
                if stream.read_exact(&mut asked).await.is_ok() {
                    let _ = stream.write_all(&vec![0; bytes]).await;
                }
            });
        }
    });
    address
}

/// How long one byte there and everything back take, and how much came.
async fn ask(address: SocketAddr) -> (Duration, usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let start = Instant::now();
    stream.write_all(b"?").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    (start.elapsed(), answer.len())
}

/// The length of the link must not cost rate: 20 MB take 0.2 s and not 20 MB ÷ window × round trip.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_link_is_as_wide_as_it_says() {
    const SIZE: usize = 20_000_000;
    let relay = Relay::start(ANYWHERE, server(SIZE).await, Width::THIN)
        .await
        .unwrap();
    let (took, came) = ask(relay.address()).await;
    assert_eq!(came, SIZE);
    // Handshake, question, answer: two round trips and the time of the bytes.
    assert!(took >= Duration::from_millis(240), "{took:?}");
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

/// Two that share the link have half of it each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_share_the_link() {
    const SIZE: usize = 10_000_000;
    let relay = Relay::start(ANYWHERE, server(SIZE).await, Width::THIN)
        .await
        .unwrap();
    let (one, other) = tokio::join!(ask(relay.address()), ask(relay.address()));
    assert_eq!((one.1, other.1), (SIZE, SIZE));
    let both = one.0.max(other.0);
    assert!(both >= Duration::from_millis(235), "{one:?} {other:?}");
}

/// A small answer takes the handshake and a round trip, and little more.
#[tokio::test]
async fn a_small_answer_takes_the_length_of_the_link() {
    let relay = Relay::start(ANYWHERE, server(1).await, Width::THIN)
        .await
        .unwrap();
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let (took, came) = ask(relay.address()).await;
        assert_eq!(came, 1);
        assert!(took >= Duration::from_millis(40), "{took:?}");
        quickest = quickest.min(took);
    }
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
}

/// A client that leaves is seen by the server, or a server would send into nowhere for ever.
#[tokio::test]
async fn the_end_of_a_client_reaches_the_server() {
    let listener = TcpListener::bind(ANYWHERE).await.unwrap();
    let target = listener.local_addr().unwrap();
    let relay = Relay::start(ANYWHERE, target, Width::THIN).await.unwrap();
    let client = TcpStream::connect(relay.address()).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    drop(client);
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut [0])).await;
    assert_eq!(read.unwrap().unwrap(), 0);
}
