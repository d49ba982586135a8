# What `cmake --install` puts where, and the descriptions by which pkg-config and CMake find it. The prefix is
# free until the installation: everything points to its neighbours by relative paths.
include(CMakePackageConfigHelpers)

install(TARGETS lightbus EXPORT lightbus)
install(TARGETS lightbus_program)
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

# lightbus.pc in the build tree is for the build tree: sources' headers, the library where it was built.
set(pc_prefix ${CMAKE_SOURCE_DIR})
set(pc_includedir ${CMAKE_SOURCE_DIR}/include)
set(pc_libdir ${CMAKE_BINARY_DIR})
set(pc_rpath " -Wl,-rpath,\${libdir}")
configure_file(cmake/lightbus.pc.in lightbus.pc @ONLY)

file(RELATIVE_PATH prefix_from_pc ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" prefix_from_pc ${prefix_from_pc})
set(pc_prefix "\${pcfiledir}/${prefix_from_pc}")
set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
set(pc_rpath "")
configure_file(cmake/lightbus.pc.in installed/lightbus.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/installed/lightbus.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# find_package(lightbus) gives lightbus::lightbus.
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/lightbus)
install(EXPORT lightbus FILE lightbus-config.cmake NAMESPACE lightbus:: DESTINATION ${package_dir})
write_basic_package_version_file(lightbus-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/lightbus-config-version.cmake DESTINATION ${package_dir})

# Completion scripts and manual pages come from the program itself.
if(NOT LIGHTBUS_SANITIZE AND NOT LIGHTBUS_FUZZ AND NOT CMAKE_CROSSCOMPILING)
  set(made ${CMAKE_BINARY_DIR}/made)
  add_custom_command(OUTPUT ${made}/stamp DEPENDS lightbus_program VERBATIM
                     COMMENT "Writing completion scripts and manual pages"
                     COMMAND ${CMAKE_COMMAND} -E rm -rf ${made}
                     COMMAND ${CMAKE_COMMAND} -E make_directory ${made}/completion ${made}/man
                     COMMAND lightbus_program completion --out ${made}/completion
                     COMMAND lightbus_program man --out ${made}/man
                     COMMAND ${CMAKE_COMMAND} -E touch ${made}/stamp)
  add_custom_target(made ALL DEPENDS ${made}/stamp)
  install(FILES ${made}/completion/lightbus DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${made}/completion/_lightbus DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
  install(FILES ${made}/completion/lightbus.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
  foreach(section 1 5)
    install(DIRECTORY ${made}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} FILES_MATCHING PATTERN "*.${section}")
  endforeach()
endif()
