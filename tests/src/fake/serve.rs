//! The wire: HTTP/1.1 by hand, because no server library can be talked into sending what a fault asks for.

use std::io;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::answer::{Answer, Framing, Instead, Sending};
use super::request::Request;

/// Accepts until it is dropped; its connections end with it.
pub(super) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.send_modify(|count| *count += 1);
        let (tls, shared) = (tls.clone(), shared.clone());
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            // A connection that breaks is the other side's business.
            let _ = match tls {
                None => connection(stream, &shared).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => connection(stream, &shared).await,
                    Err(error) => Err(error),
                },
            };
        });
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        let answer = shared.answer(&request);
        if send(&mut stream, &request.method, answer).await? == After::Close {
            break;
        }
    }
    stream.shutdown().await
}

async fn read<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut words = line.split_whitespace();
    let method: Method = words
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or_else(invalid)?;
    let target = words.next().ok_or_else(invalid)?.to_owned();
    let mut headers = HeaderMap::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let name: HeaderName = name.parse().map_err(|_| invalid())?;
        headers.append(name, HeaderValue::from_str(value.trim()).map_err(|_| invalid())?);
    }
    let mut request = Request::new(method, &target, headers);
    if let Ok(length) = request.header("content-length").parse() {
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        request.body = String::from_utf8_lossy(&body).into_owned();
    }
    Ok(Some(request))
}

#[derive(PartialEq, Eq)]
enum After {
    KeepAlive,
    Close,
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, method: &Method, answer: Answer) -> io::Result<After> {
    let Answer {
        status,
        headers,
        body,
        sending,
    } = answer;
    for gate in &sending.before {
        gate.pass().await;
    }
    match sending.instead {
        None => {}
        Some(Instead::Nothing) => std::future::pending().await,
        Some(Instead::Hangup) => return Ok(After::Close),
        Some(Instead::Bytes(bytes)) => {
            stream.write_all(&bytes).await?;
            return Ok(After::Close);
        }
    }
    let framing = match sending.framing {
        Framing::Length => format!("content-length: {}", body.len()),
        Framing::Chunked => "transfer-encoding: chunked".to_owned(),
    };
    let lines = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect::<Vec<_>>();
    let lines = lines.concat();
    stream
        .write_all(format!("HTTP/1.1 {status} Scripted\r\n{lines}{framing}\r\n\r\n").as_bytes())
        .await?;
    stream.flush().await?;
    if method == Method::HEAD {
        return Ok(After::KeepAlive);
    }
    send_body(stream, &body, &sending).await
}

async fn send_body<S: AsyncWrite + Unpin>(
    stream: &mut S,
    body: &[u8],
    sending: &Sending,
) -> io::Result<After> {
    let end = sending.cut.map_or(body.len(), |cut| cut.min(body.len()));
    let portion = sending.drip.map_or(256 << 10, |(bytes, _)| bytes);
    let mut sent = 0;
    loop {
        for (_, gate) in sending.gates.iter().filter(|(at, _)| *at == sent) {
            gate.pass().await;
        }
        if sent == end {
            break;
        }
        let gate = sending
            .gates
            .iter()
            .map(|(at, _)| *at)
            .filter(|at| *at > sent)
            .min()
            .unwrap_or(end);
        let stop = end.min(gate).min(sent + portion);
        chunk(stream, &sending.framing, &body[sent..stop]).await?;
        sent = stop;
        if let Some((_, pause)) = sending.drip {
            tokio::time::sleep(pause).await;
        }
    }
    if sending.cut.is_some() {
        return Ok(After::Close);
    }
    if sending.framing == Framing::Chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    stream.flush().await?;
    Ok(After::KeepAlive)
}

async fn chunk<S: AsyncWrite + Unpin>(stream: &mut S, framing: &Framing, bytes: &[u8]) -> io::Result<()> {
    match framing {
        Framing::Length => stream.write_all(bytes).await?,
        Framing::Chunked => {
            stream
                .write_all(format!("{:x}\r\n", bytes.len()).as_bytes())
                .await?;
            stream.write_all(bytes).await?;
            stream.write_all(b"\r\n").await?;
        }
    }
    stream.flush().await
}
