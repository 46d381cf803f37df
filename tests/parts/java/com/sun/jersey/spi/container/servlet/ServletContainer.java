package com.sun.jersey.spi.container.servlet;

import javax.servlet.http.HttpServlet;

/**
 * Stands where the NameNode and the DataNode look for Jersey, which they need only to serve WebHDFS.
 * The sandbox speaks RPC alone, so an empty servlet lets both start without Jersey.
 */
public class ServletContainer extends HttpServlet {
  private static final long serialVersionUID = 1L;
}
