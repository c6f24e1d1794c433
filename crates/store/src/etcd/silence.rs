//! Ends requests whose answer does not come, or does not go on coming. What shows that is the answer's data:
//! a server that only replies to pings brings nothing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes, Frame};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service};

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// The server was silent for so long.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("it was silent for {0:?}")]
pub(super) struct Silence(pub(super) Duration);

/// A channel whose requests end after that silence.
pub(super) fn limited(
    channel: tonic::transport::Channel,
    silence: Duration,
) -> BoxCloneSyncService<Request, Response, BoxError> {
    BoxCloneSyncService::new(Limited { channel, silence })
}

#[derive(Clone)]
struct Limited {
    channel: tonic::transport::Channel,
    silence: Duration,
}

impl Service<Request> for Limited {
    type Response = Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.channel.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (answer, silence) = (self.channel.call(request), self.silence);
        Box::pin(async move {
            let answer = timeout(silence, answer).await.map_err(|_| Silence(silence))??;
            Ok(answer.map(|inner| Body::new(Answer { inner, silence, end: Box::pin(sleep(silence)) })))
        })
    }
}

/// The body of an answer.
struct Answer {
    inner: Body,
    silence: Duration,
    /// When the answer has been silent for too long.
    end: Pin<Box<Sleep>>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            let end = Instant::now() + self.silence;
            self.end.as_mut().reset(end);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let silence = Silence(self.silence);
        self.end.as_mut().poll(cx).map(|()| Some(Err(silence.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}
