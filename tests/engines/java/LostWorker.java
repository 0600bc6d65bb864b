import beametl.Drain;
import java.lang.reflect.Proxy;
import java.net.InetSocketAddress;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.Elements;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.InstructionRequest;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.InstructionResponse;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.ProcessBundleDescriptor;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.ProcessBundleResponse;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.StartWorkerRequest;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.StartWorkerResponse;
import org.apache.beam.model.fnexecution.v1.BeamFnDataGrpc;
import org.apache.beam.model.fnexecution.v1.BeamFnExternalWorkerPoolGrpc;
import org.apache.beam.model.pipeline.v1.Endpoints.ApiServiceDescriptor;
import org.apache.beam.model.pipeline.v1.RunnerApi.Environment;
import org.apache.beam.model.pipeline.v1.RunnerApi.ExternalPayload;
import org.apache.beam.runners.fnexecution.control.BundleProgressHandler;
import org.apache.beam.runners.fnexecution.control.ControlClientPool;
import org.apache.beam.runners.fnexecution.control.InstructionRequestHandler;
import org.apache.beam.runners.fnexecution.control.RemoteOutputReceiver;
import org.apache.beam.runners.fnexecution.control.SdkHarnessClient;
import org.apache.beam.runners.fnexecution.data.FnDataService;
import org.apache.beam.runners.fnexecution.data.GrpcDataService;
import org.apache.beam.runners.fnexecution.data.RemoteInputDestination;
import org.apache.beam.runners.fnexecution.environment.ExternalEnvironmentFactory;
import org.apache.beam.sdk.coders.ByteArrayCoder;
import org.apache.beam.sdk.fn.data.BeamFnDataInboundObserver;
import org.apache.beam.sdk.fn.data.FnDataReceiver;
import org.apache.beam.sdk.fn.server.GrpcFnServer;
import org.apache.beam.sdk.fn.server.ServerFactory;
import org.apache.beam.sdk.fn.stream.OutboundObserverFactory;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.ByteString;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.BindableService;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ManagedChannel;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ManagedChannelBuilder;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.Server;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.netty.NettyServerBuilder;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.stub.StreamObserver;

/**
 * A task manager's side of bundles whose worker is lost at some point. Prints a line a point: what ends the bundle, and
 * behind a tab why.
 */
public final class LostWorker {
  private static final int SECONDS = 15;

  /** More than is gathered before it is sent. */
  private static final int MESSAGE = 2 << 20;

  private final CompletableFuture<InstructionResponse> response = new CompletableFuture<>();
  private final GrpcFnServer<GrpcDataService> server;
  private final CountDownLatch ended = new CountDownLatch(1);

  private LostWorker() throws Exception {
    GrpcDataService service =
        GrpcDataService.create(
            PipelineOptionsFactory.create(), Executors.newCachedThreadPool(), OutboundObserverFactory.serverDirect());
    server = GrpcFnServer.allocatePortAndCreateFor(service, ServerFactory.createDefault());
  }

  public static void main(String[] arguments) throws Exception {
    Map<String, Callable<Object>> points = new LinkedHashMap<>();
    points.put("before its control stream", () -> new LostWorker().beforeItsControlStream());
    points.put("before its output has a taker", LostWorker::beforeItsOutputHasATaker);
    points.put("before its stream of data", () -> new LostWorker().beforeItsStreamOfData());
    points.put("while it is sent to", () -> new LostWorker().whileItIsSentTo());
    points.put("while it sends", () -> new LostWorker().whileItSends());
    ExecutorService threads = Executors.newCachedThreadPool();
    Map<String, Future<Object>> found = new LinkedHashMap<>();
    points.forEach((point, bundle) -> found.put(point, threads.submit(bundle)));
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
    for (String point : found.keySet()) {
      System.out.println(point + "\t" + outcome(found.get(point), end - System.nanoTime()));
    }
    System.exit(0);
  }

  private static String outcome(Future<Object> bundle, long nanoseconds) throws InterruptedException {
    try {
      bundle.get(nanoseconds, TimeUnit.NANOSECONDS);
      return "passes for complete";
    } catch (TimeoutException late) {
      return "stands still";
    } catch (ExecutionException ended) {
      return ended.getCause().toString();
    }
  }

  /** The pool says that the worker is there, and then nothing comes of it. */
  @SuppressWarnings({"unchecked", "rawtypes"})
  private Object beforeItsControlStream() throws Exception {
    BindableService pool =
        new BeamFnExternalWorkerPoolGrpc.BeamFnExternalWorkerPoolImplBase() {
          @Override
          public void startWorker(StartWorkerRequest request, StreamObserver<StartWorkerResponse> answer) {
            answer.onNext(StartWorkerResponse.getDefaultInstance());
            answer.onCompleted();
          }
        };
    Server started =
        NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0)).addService(pool).build().start();
    ControlClientPool.Source nobody =
        (worker, time) -> {
          Thread.sleep(100);
          throw new TimeoutException("after " + time);
        };
    GrpcFnServer any = server;
    ByteString payload =
        ExternalPayload.newBuilder()
            .setEndpoint(ApiServiceDescriptor.newBuilder().setUrl("127.0.0.1:" + started.getPort()))
            .build()
            .toByteString();
    return ExternalEnvironmentFactory.create(any, any, any, any, nobody, () -> "1")
        .createEnvironment(
            Environment.newBuilder().setUrn("beam:env:external:v1").setPayload(payload).build(), "1-1");
  }

  /** The service takes no bundle any more: nothing of it is left that would wait for output. */
  private static Object beforeItsOutputHasATaker() throws Exception {
    FnDataService closed =
        (FnDataService)
            Proxy.newProxyInstance(
                LostWorker.class.getClassLoader(),
                new Class<?>[] {FnDataService.class},
                (proxy, method, given) -> {
                  throw new IllegalStateException("the service is closed");
                });
    try {
      Drain.registerReceiver(closed, "refused", BeamFnDataInboundObserver.forConsumers(List.of(), List.of()));
    } catch (IllegalStateException thrown) {
      for (Thread thread : Thread.getAllStackTraces().keySet()) {
        if (thread.getName().equals("output of bundle refused")) {
          thread.join();
        }
      }
      throw thrown;
    }
    return closed;
  }

  private Object beforeItsStreamOfData() {
    fail();
    return begin();
  }

  private Object whileItIsSentTo() throws Exception {
    ManagedChannel worker = connect();
    SdkHarnessClient.BundleProcessor.ActiveBundle bundle = begin();
    bundle.getInputReceivers().get("read").accept(new byte[MESSAGE]);
    lose(worker);
    fail();
    bundle.close();
    return bundle;
  }

  private Object whileItSends() throws Exception {
    ManagedChannel worker = connect();
    SdkHarnessClient.BundleProcessor.ActiveBundle bundle = begin();
    response.complete(
        InstructionResponse.newBuilder().setProcessBundle(ProcessBundleResponse.getDefaultInstance()).build());
    Executors.newSingleThreadScheduledExecutor().schedule(worker::shutdownNow, 1, TimeUnit.SECONDS);
    bundle.close();
    return bundle;
  }

  /** The worker's stream of data. */
  private ManagedChannel connect() throws Exception {
    String[] address = server.getApiServiceDescriptor().getUrl().split(":");
    ManagedChannel channel =
        ManagedChannelBuilder.forAddress(address[0], Integer.parseInt(address[1])).usePlaintext().build();
    BeamFnDataGrpc.newStub(channel)
        .data(
            new StreamObserver<Elements>() {
              @Override
              public void onNext(Elements elements) {}

              @Override
              public void onError(Throwable thrown) {
                ended.countDown();
              }

              @Override
              public void onCompleted() {}
            });
    return channel;
  }

  private void lose(ManagedChannel worker) throws InterruptedException {
    worker.shutdownNow();
    ended.await();
    Thread.sleep(500); // until the other side has noticed
  }

  private void fail() {
    response.completeExceptionally(new IllegalStateException("the control stream broke"));
  }

  private SdkHarnessClient.BundleProcessor.ActiveBundle begin() {
    InstructionRequestHandler control =
        new InstructionRequestHandler() {
          @Override
          public void registerProcessBundleDescriptor(ProcessBundleDescriptor descriptor) {}

          @Override
          public CompletionStage<InstructionResponse> handle(InstructionRequest request) {
            return response;
          }

          @Override
          public void close() {}
        };
    FnDataReceiver<byte[]> output = element -> {};
    return SdkHarnessClient.usingFnApiClient(control, server.getService())
        .getProcessor(
            ProcessBundleDescriptor.newBuilder().setId("stage").build(),
            List.of(RemoteInputDestination.of(ByteArrayCoder.of(), "read")))
        .newBundle(
            Map.of("write", RemoteOutputReceiver.of(ByteArrayCoder.of(), output)), BundleProgressHandler.ignored());
  }
}
