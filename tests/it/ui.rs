//! Forgeries that must not compile.

#[test]
fn forgeries_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
