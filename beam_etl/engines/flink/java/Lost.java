package beametl;

import java.time.Duration;
import java.util.Collections;
import java.util.Set;
import java.util.WeakHashMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Phaser;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.Elements;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.InstructionRequest;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.InstructionResponse;
import org.apache.beam.runners.fnexecution.control.ControlClientPool;
import org.apache.beam.runners.fnexecution.control.InstructionRequestHandler;
import org.apache.beam.sdk.fn.data.BeamFnDataGrpcMultiplexer;
import org.apache.beam.sdk.fn.data.CloseableFnDataReceiver;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.stub.CallStreamObserver;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.stub.ServerCallStreamObserver;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.stub.StreamObserver;
import org.apache.beam.vendor.guava.v32_1_2_jre.com.google.common.util.concurrent.SettableFuture;

/**
 * Ends what waits for a worker that is lost, so that Flink starts the task again. Beam notices the loss where it waits for
 * a response, and nowhere else: other waits go on for ever, and the job stands still.
 */
public final class Lost {
  private static final long LOOK_SECONDS = 1;

  /** What the worker answers to the bundle that this thread begins. */
  private static final ThreadLocal<CompletableFuture<InstructionResponse>> RESPONSE = new ThreadLocal<>();

  /** Streams of data of lost workers. */
  private static final Set<BeamFnDataGrpcMultiplexer> STREAMS =
      Collections.synchronizedSet(Collections.newSetFromMap(new WeakHashMap<>()));

  private Lost() {}

  /**
   * In place of the source's method: a worker that was lost before it came to its control stream never comes, and Beam
   * would ask again without end. Beam's time, of minutes, is enough also where a pool answers before its worker connects.
   */
  public static InstructionRequestHandler take(ControlClientPool.Source source, String worker, Duration longest)
      throws Exception {
    try {
      return source.take(worker, longest);
    } catch (TimeoutException late) {
      throw new IllegalStateException("worker " + worker + " opened no control stream in " + longest, late);
    }
  }

  /** In place of the handler's method, when a bundle begins. */
  public static CompletionStage<InstructionResponse> handle(
      InstructionRequestHandler worker, InstructionRequest bundle) {
    CompletionStage<InstructionResponse> response = worker.handle(bundle);
    RESPONSE.set(response.toCompletableFuture());
    return response;
  }

  /** In place of the future's method, where a bundle waits for the worker's stream of data. */
  public static Object get(SettableFuture<?> stream, long time, TimeUnit unit)
      throws InterruptedException, ExecutionException, TimeoutException {
    long end = System.nanoTime() + unit.toNanos(time);
    while (true) {
      try {
        return stream.get(LOOK_SECONDS, TimeUnit.SECONDS);
      } catch (TimeoutException late) {
        CompletableFuture<InstructionResponse> response = RESPONSE.get();
        if (response != null && response.isCompletedExceptionally()) {
          response.get();
        }
        if (System.nanoTime() > end) {
          throw late;
        }
      }
    }
  }

  /** In place of the future's method. */
  public static Object get(SettableFuture<?> stream) throws InterruptedException, ExecutionException {
    return stream.get();
  }

  /** In place of the stream's method: what is sent on a stream that was cancelled fails, so nothing waits for it. */
  public static boolean isReady(CallStreamObserver<?> stream) {
    return stream.isReady()
        || (stream instanceof ServerCallStreamObserver && ((ServerCallStreamObserver<?>) stream).isCancelled());
  }

  /** In place of the phaser's method: a stream is looked at again soon. */
  public static int awaitAdvanceInterruptibly(Phaser ready, int phase, long time, TimeUnit unit)
      throws InterruptedException, TimeoutException {
    return ready.awaitAdvanceInterruptibly(phase, Math.min(LOOK_SECONDS, unit.toSeconds(time)), TimeUnit.SECONDS);
  }

  /** In place of the stream's method: what comes from a worker, and its end. */
  public static StreamObserver<Elements> getInboundObserver(BeamFnDataGrpcMultiplexer stream) {
    return new Inbound(stream);
  }

  /** In place of the stream's method. */
  public static void registerConsumer(
      BeamFnDataGrpcMultiplexer stream, String bundle, CloseableFnDataReceiver<Elements> receiver) {
    stream.registerConsumer(bundle, receiver);
    if (receiver instanceof Drain) {
      ((Drain) receiver).comesFrom(stream);
    }
    if (STREAMS.contains(stream)) {
      Drain.lose(stream);
    }
  }

  private static final class Inbound implements StreamObserver<Elements> {
    private final BeamFnDataGrpcMultiplexer stream;
    private final StreamObserver<Elements> beams;

    Inbound(BeamFnDataGrpcMultiplexer stream) {
      this.stream = stream;
      beams = stream.getInboundObserver();
    }

    @Override
    public void onNext(Elements elements) {
      beams.onNext(elements);
    }

    @Override
    public void onError(Throwable thrown) {
      try {
        beams.onError(thrown);
      } finally {
        lose();
      }
    }

    @Override
    public void onCompleted() {
      try {
        beams.onCompleted();
      } finally {
        lose();
      }
    }

    private void lose() {
      STREAMS.add(stream);
      Drain.lose(stream);
    }
  }
}
