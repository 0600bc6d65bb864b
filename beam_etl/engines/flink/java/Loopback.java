package beametl;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.netty.NettyServerBuilder;

/** What Beam's servers call in place of NettyServerBuilder.forPort, which would listen on every address. */
public final class Loopback {
  private Loopback() {}

  public static NettyServerBuilder forPort(int port) {
    return NettyServerBuilder.forAddress(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
  }
}
